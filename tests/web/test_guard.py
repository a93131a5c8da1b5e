from __future__ import annotations

from tests.web.conftest import READ_TOKEN, RUN_TOKEN, Served


def test_health_is_told_to_anybody(guarded: Served) -> None:
    assert guarded.client().get("/livez").status_code == 200
    assert guarded.client().get("/readyz").status_code == 200
    assert guarded.client().get("/readyz").content == b""


def test_what_nobody_named_is_denied(guarded: Served) -> None:
    answer = guarded.client().get("/anything")

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_tokens(guarded: Served) -> None:
    assert guarded.client(READ_TOKEN).get("/anything").status_code == 404
    assert guarded.client(READ_TOKEN).post("/anything").status_code == 403
    assert guarded.client(RUN_TOKEN).post("/anything").status_code == 404
    assert guarded.client("x" * 20).get("/anything").status_code == 401
