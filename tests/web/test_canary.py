"""No secret is written down or told, whatever goes wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.responses import StreamingResponse

from tests.web.conftest import GUARDED, PASSWORD, PASSWORD_HASH, READ_TOKEN, RUN_TOKEN, Served, Site

ROW = "canary-row"


def test_secrets_are_in_no_answer_no_log_and_no_table(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    plain = {**GUARDED, "SYNCER_WEB__PASSWORD": PASSWORD}
    with site.served(plain) as served:
        answers, cookies = _conversation(served)
        told = repr(served.service.settings) + str(served.process.app.openapi())
    secrets = (PASSWORD, PASSWORD_HASH, READ_TOKEN, RUN_TOKEN, "canary-guess", "canary-bearer", *cookies)

    written = _logged(caplog) + told + "".join(answers)
    kept = _bytes_below(site.path / ".syncer")
    assert len(cookies) == 1
    assert len(answers) > 20
    for secret in secrets:
        assert secret not in written
        assert secret.encode() not in kept


def _conversation(served: Served) -> tuple[list[str], list[str]]:
    """What was answered to right and wrong secrets in every place, without cookies, and the cookies."""
    browser = served.client(headers={"Origin": served.address})
    answers = [
        browser.post("/login", data={"password": "canary-guess"}),
        browser.post("/login", data={"password": "canary-guess" * 200}),
        browser.post("/login", data={"passwort": "canary-guess"}),
        browser.post("/login", json={"password": "canary-guess"}),
        browser.post("/login", data={"password": PASSWORD}),
        browser.post("/api/v1/syncs/customers/runs?wait=30"),
        browser.get("/api/v1/syncs/customers"),
    ]
    for token in (READ_TOKEN, RUN_TOKEN, "canary-bearer-that-nobody-has"):
        client = served.client(token)
        answers += [client.get(path) for path in ("/api/v1/syncs", "/api/v1/docs", "/api/v1/openapi.json", "/x")]
        answers += [client.post(path) for path in ("/api/v1/syncs/customers/pause", "/api/v1/syncs/x/plan")]
        answers += [client.get("/api/v1/audit"), client.get("/api/v1/runs?limit=x")]
    cookies = [browser.cookies["syncer_session"]]
    answers.append(browser.post("/logout"))
    return [
        answer.text + str([(k, v) for k, v in answer.headers.items() if k != "set-cookie"]) for answer in answers
    ], cookies


def _logged(caplog: pytest.LogCaptureFixture) -> str:
    """What the service logged; the tests' client is in the same process."""
    records = [record for record in caplog.records if not record.name.startswith("http")]
    return "\n".join(f"{record.getMessage()} {record.exc_text or ''} {vars(record)}" for record in records)


def _bytes_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_nobody_expected_is_told_and_logged_without_its_text(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    @served.process.app.get("/breaks")
    def breaks() -> None:
        raise RuntimeError(ROW)

    answer = served.client().get("/breaks")

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ROW not in answer.text + _logged(caplog)
    assert "unexpected RuntimeError" in _logged(caplog)
    assert "breaks" in _logged(caplog)


def test_a_failure_after_the_answer_began_is_logged_without_its_text(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:

    def parts() -> Iterator[str]:
        yield "begun"
        raise RuntimeError(ROW)

    @served.process.app.get("/breaks-off")
    def breaks_off() -> StreamingResponse:
        return StreamingResponse(parts())

    with pytest.raises(httpx2.RemoteProtocolError, match="incomplete"):
        served.client().get("/breaks-off")

    assert ROW not in _logged(caplog)
