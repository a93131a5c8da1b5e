"""Who may do what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from syncer.web.auth import guard
from tests.web.conftest import GUARDED, PASSWORD, READ_TOKEN, RUN_TOKEN, Served, Site, small_site

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
PROXIED = {"SYNCER_WEB__PROXY_HEADER": "X-Forwarded-User", "SYNCER_WEB__PROXY_ADDRESSES": "127.0.0.1"}

#: Every change that can be made by way of the page and the API.
CHANGES = {
    "/api/v1/runs/{run_id}/cancel",
    "/api/v1/syncs/{name}/pause",
    "/api/v1/syncs/{name}/rejected/acknowledge",
    "/api/v1/syncs/{name}/rejected/unacknowledge",
    "/api/v1/syncs/{name}/plan",
    "/api/v1/syncs/{name}/resume",
    "/api/v1/syncs/{name}/runs",
    "/login",
    "/logout",
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all that leaves it as it was."""
    with small_site(tmp_path_factory.mktemp("guarded")).served(GUARDED) as served:
        yield served


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same that asks nobody who they are."""
    with small_site(tmp_path_factory.mktemp("unguarded")).served() as served:
        yield served


def routes(served: Served) -> Iterator[tuple[str, set[str]]]:
    """Every route there is, with its methods; what is mounted stands for all below it."""
    for context in iter_route_contexts(served.process.app.routes):
        path = context.path or ""
        if isinstance(context.original_route, Mount):
            path = f"{path.rstrip('/')}/x"
        yield path, set(context.methods or ())


def filled(path: str) -> str:
    return path.format(name="customers", run_id="x", **{"path:path": "x"}) if "{" in path else path


def test_every_route_is_denied_to_who_does_not_say_who_they_are(guarded: Served) -> None:
    client = guarded.client()
    found = sorted({path for path, _ in routes(guarded)})
    assert "/api/v1/runs/{run_id}/events" in found
    assert "/api/v1/openapi.json" in found

    allowed = set()
    for path in [*found, "/", "/no/such/address", "/metrics", "/api/v1/"]:
        for method in METHODS:
            answer = client.request(method, filled(path))
            if answer.status_code != 401:
                allowed.add((path, method))
            else:
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "customers" not in answer.text

    assert {path for path, _ in allowed} <= {*guard.OPEN, "/static/x"}
    assert {method for path, method in allowed if path.startswith("/static")} <= {"GET", "HEAD", "OPTIONS"}


def test_a_token_that_reads_can_change_nothing(guarded: Served) -> None:
    client = guarded.client(READ_TOKEN)

    tried = 0
    for path, _ in routes(guarded):
        for method in set(METHODS) - {"GET", "HEAD", "OPTIONS"}:
            if path not in (*guard.OPEN, guard.LOGOUT):
                assert client.request(method, filled(path)).status_code == 403, (method, path)
                tried += 1
    assert tried > 20
    assert client.get("/api/v1/syncs").status_code == 200
    assert client.get("/api/v1/audit").status_code == 403
    assert guarded.client(RUN_TOKEN).get("/api/v1/audit").status_code == 200


def test_changes_are_made_by_post_alone_and_by_these_routes(guarded: Served) -> None:
    changing = {path for path, methods in routes(guarded) if methods - {"GET", "HEAD", "OPTIONS"}}
    both = {path for path, methods in routes(guarded) if {"GET", "POST"} <= methods}

    assert {path for path in changing if path.startswith(("/api", "/log"))} == CHANGES
    assert not both
    assert all(methods <= {"GET", "HEAD", "POST"} for _, methods in routes(guarded) if methods)


def test_reading_changes_nothing(site: Site, served: Served) -> None:
    client = served.client()
    run = client.post("/api/v1/syncs/customers/runs?wait=30").json()
    tables = ("runs", "audit", "pauses", "sessions", "requests", "rejections")
    before = [site.log(f"SELECT * FROM syncer_{table}") for table in tables]
    asked = {
        "q": "1",
        "entity": "person",
        "value": "1",
        "by": "id",
        "type": "account",
        "id": "1",
        "name": "customers",
        "test": "1",
    }

    for path, methods in routes(served):
        if "GET" in methods:
            told = client.get(path.format(name="customers", run_id=run["run_id"]), params=asked).status_code
            assert told in (200, 404), path

    assert [site.log(f"SELECT * FROM syncer_{table}") for table in tables] == before


def test_a_token_is_known_only_as_a_whole(guarded: Served) -> None:
    for token in (READ_TOKEN[:-1], f"{READ_TOKEN}x", READ_TOKEN.upper(), "x" * 5000, "ü" * 20):
        client = guarded.client(headers={"Authorization": f"Bearer {token}"})
        assert client.get("/api/v1/syncs").status_code == 401
    assert guarded.client(headers={"Authorization": f"bearer  {READ_TOKEN}"}).get("/api/v1/syncs").status_code == 200
    assert guarded.client(headers={"Authorization": f"Basic {READ_TOKEN}"}).get("/api/v1/syncs").status_code == 401


def test_a_wrong_token_is_not_made_up_for_by_anything_else(unguarded: Served) -> None:
    assert unguarded.client().get("/api/v1/syncs").status_code == 200
    assert unguarded.client("not-a-token-of-anybody").get("/api/v1/syncs").status_code == 401


def test_events_are_denied_as_all_else(guarded: Served) -> None:
    answer = guarded.client().get("/api/v1/runs/x/events", headers={"Accept": "text/event-stream"})

    assert answer.status_code == 401


def test_websockets_are_refused(guarded: Served) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    assert guarded.client(headers=headers).get("/api/v1/runs/x/events").status_code in (401, 403)


def test_a_person_is_sent_to_the_login(guarded: Served) -> None:
    answer = guarded.client().get("/syncs/customers?x=1", headers={"Accept": "text/html"})

    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/syncs/customers%3Fx%3D1"


# Names and origins


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "localhost.evil.example", "", "a@localhost", "x y"]
)
def test_another_sites_name_that_leads_here_is_refused(unguarded: Served, host: str) -> None:
    client = unguarded.client(headers={"Host": host})

    assert client.get("/api/v1/syncs").status_code in (400, 421)
    assert client.post("/api/v1/syncs/customers/runs").status_code in (400, 421)
    assert not unguarded.service.run_log.recent("customers")


def test_the_services_own_names_are_taken(site: Site) -> None:
    with site.served({"SYNCER_WEB__URL": "https://Syncer.example.com"}) as served:
        port = served.address.rpartition(":")[2]
        for host in (
            "localhost",
            f"localhost:{port}",
            f"127.0.0.1:{port}",
            "[::1]:80",
            "syncer.example.com",
            "10.1.2.3",
        ):
            assert served.client(headers={"Host": host}).get("/api/v1/syncs").status_code == 200, host


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        # Another page of this machine: the same site to a browser, and to its cookies.
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_another_sites_page_asks_for_is_refused(unguarded: Served, headers: dict[str, str]) -> None:
    client = unguarded.client(headers=headers)

    for path in ("syncs/customers/runs", "syncs/customers/pause", "syncs/customers/resume", "syncs/customers/plan"):
        assert client.post(f"/api/v1/{path}").status_code == 403
    assert client.post("/api/v1/runs/x/cancel").status_code == 403
    assert client.post("/login", data={"password": "x"}).status_code == 403
    assert not unguarded.service.run_log.recent("customers")
    assert not unguarded.service.run_log.paused()


def test_the_services_own_page_may_ask(unguarded: Served) -> None:
    for headers in ({"Origin": unguarded.address}, {"Sec-Fetch-Site": "same-origin"}, {}):
        assert unguarded.client(headers=headers).post("/api/v1/syncs/customers/resume").status_code == 200


def test_a_token_is_asked_for_no_origin(guarded: Served) -> None:
    client = guarded.client(RUN_TOKEN, {"Origin": "https://elsewhere.example", "Host": "syncer:8765"})

    assert client.post("/api/v1/syncs/customers/pause").status_code == 200


def test_a_session_must_tell_its_origin(guarded: Served) -> None:
    client = guarded.client()
    assert client.post("/login", data={"password": PASSWORD}).status_code == 303

    assert client.get("/api/v1/syncs").status_code == 200
    assert client.post("/api/v1/syncs/customers/pause").status_code == 403
    assert client.post("/api/v1/syncs/customers/pause", headers={"Origin": "http://a.example"}).status_code == 403
    assert client.post("/api/v1/syncs/customers/pause", headers={"Origin": guarded.address}).status_code == 200


@pytest.mark.parametrize("host", ["localhost/livez?", "x/login?", "x/static/?", "localhost#", "localhost/livez#"])
def test_a_host_header_is_no_part_of_the_address(guarded: Served, unguarded: Served, host: str) -> None:
    assert guarded.client(headers={"Host": host}).get("/api/v1/syncs").status_code in (400, 401, 421)
    assert guarded.client(headers={"Host": host}).post("/api/v1/syncs/customers/pause").status_code in (400, 401, 421)
    assert unguarded.client(headers={"Host": host}).get("/api/v1/syncs").status_code in (400, 421)


# Proxies


def test_a_proxy_that_is_believed_tells_who_asks(site: Site) -> None:
    with site.served(PROXIED) as served:
        ann = served.client(headers={"X-Forwarded-User": "ann", "X-Forwarded-For": "203.0.113.7"})
        assert ann.post("/api/v1/syncs/customers/pause").status_code == 200
        assert ann.post("/api/v1/syncs/customers/pause", headers={"Origin": "http://x.example"}).status_code == 403
        told = ann.get("/api/v1/audit").json()["items"]
        jorg = served.client(headers={"X-Forwarded-User": "Jörg Ä".encode()})
        assert jorg.post("/api/v1/syncs/customers/resume").status_code == 200
        assert jorg.get("/api/v1/audit?limit=1").json()["items"][0]["actor"] == "Jörg Ä"
        nobody = served.client()
        assert nobody.get("/api/v1/syncs").status_code == 401
        for name in ("", "x" * 1000, "an\tn"):
            assert served.client(headers={"X-Forwarded-User": name}).get("/api/v1/syncs").status_code == 401

    assert [(entry["actor"], entry["address"]) for entry in told] == [("ann", "203.0.113.7")]


def test_others_that_say_who_they_are_are_not_believed(site: Site) -> None:
    with site.served({**PROXIED, "SYNCER_WEB__PROXY_ADDRESSES": "10.0.0.0/8"}) as served:
        client = served.client(headers={"X-Forwarded-User": "ann", "X-Forwarded-For": "10.0.0.1"})
        assert client.get("/api/v1/syncs").status_code == 401


def test_without_the_setting_the_header_means_nothing(guarded: Served) -> None:
    client = guarded.client(headers={"X-Forwarded-User": "ann", "X-Remote-User": "ann"})

    assert client.get("/api/v1/syncs").status_code == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_who_comes_by_a_proxy_nobody_told_of_is_not_this_machines_user(unguarded: Served, header: str) -> None:
    assert unguarded.client(headers={header: "203.0.113.7"}).get("/api/v1/syncs").status_code == 401


def test_two_names_are_none(site: Site) -> None:
    with site.served(PROXIED) as served:
        answer = served.client().get(
            "/api/v1/syncs", headers=[("X-Forwarded-User", "ann"), ("X-Forwarded-User", "admin")]
        )
        assert answer.status_code == 401


# What every answer has


def test_every_answer_has_the_headers_that_browsers_heed(guarded: Served) -> None:
    reader = guarded.client(READ_TOKEN)
    answers = [
        guarded.client().get("/login"),
        guarded.client().get("/livez"),
        guarded.client().get("/api/v1/syncs"),
        reader.get("/api/v1/syncs"),
        reader.get("/api/v1/docs"),
        reader.get("/no/such/address"),
        reader.post("/api/v1/syncs/customers/runs"),
    ]

    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/api/v1/docs", "/login"])
def test_pages_load_nothing_from_elsewhere_and_run_no_inline_script(guarded: Served, path: str) -> None:
    text = guarded.client(READ_TOKEN).get(path).text

    assert "<html" in text
    for sign in ("http://", "https://", "//cdn", "<script>", "style=", "onclick", "onload"):
        assert sign not in text.replace('"//"', "")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../api/v1/syncs",
        "/static/%2e%2e/api/v1/syncs",
        "/static/..%2f..%2fsafety.py",
        "/livez/../api/v1/syncs",
        "//api/v1/syncs",
        "/login/..%2fapi/v1/syncs",
        "/LIVEZ",
        "/api/v1/syncs/",
        "/api/v1/syncs;/livez",
        "/api/v1/syncs%00/livez",
    ],
)
def test_no_spelling_of_an_address_gets_past(guarded: Served, path: str) -> None:
    answer = guarded.client().get(f"{guarded.address}{path}")

    assert answer.status_code in (400, 401, 404)
    assert "customers" not in answer.text
    assert "Safety" not in answer.text


def test_a_body_that_is_too_large_is_refused(unguarded: Served) -> None:
    client = unguarded.client(headers={"Content-Type": "application/json"})
    large = b" " * 70_000

    for content in (large, iter([large[:40_000], large[:40_000]])):
        answer = client.post("/api/v1/syncs/customers/runs", content=content)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.post("/login", content=large).status_code == 413


def test_settings_say_who_is_asked(site: Site) -> None:
    only_tokens = {name: value for name, value in GUARDED.items() if "TOKENS" in name}

    with site.served(only_tokens) as served:
        assert served.client().get("/api/v1/syncs", headers={"Accept": "text/html"}).status_code == 401
        assert served.client().get("/", headers={"Accept": "text/html"}).status_code == 401
        assert served.client().get("/login").status_code == 404
        assert served.client().post("/login", data={"password": "x"}).status_code == 404
