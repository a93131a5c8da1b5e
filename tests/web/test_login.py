"""Logging in with the password, and out."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import timedelta

import httpx2
import pytest

from syncer.state import sessions
from syncer.web.auth import login
from tests.web.conftest import GUARDED, PASSWORD, Served, Site


def log_in(client: httpx2.Client, password: str = PASSWORD, **form: str) -> httpx2.Response:
    return client.post("/login", data={"password": password, **form})


def test_the_password_lets_in_and_logging_out_ends_it(site: Site, guarded: Served) -> None:
    client = guarded.client(headers={"Origin": guarded.address})
    assert client.get("/api/v1/syncs").status_code == 401

    answer = log_in(client)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert re.match(r"syncer_session=[\w-]{43}; HttpOnly; Max-Age=43200; Path=/; SameSite=strict$", cookie)
    assert client.get("/api/v1/syncs").status_code == 200
    assert client.post("/api/v1/syncs/customers/pause").status_code == 200
    token = client.cookies["syncer_session"]
    assert token not in str(site.log("SELECT * FROM syncer_sessions"))

    assert client.post("/logout").status_code == 303
    assert "syncer_session" not in client.cookies
    assert not site.log("SELECT * FROM syncer_sessions")
    # Who kept the token has nothing of it.
    assert guarded.client(headers={"Cookie": f"syncer_session={token}"}).get("/api/v1/syncs").status_code == 401


def test_every_login_gives_another_token_whatever_the_browser_brought(guarded: Served) -> None:
    client = guarded.client(headers={"Cookie": "syncer_session=chosen-by-somebody-else"})
    tokens = {log_in(client).headers["set-cookie"].split(";")[0] for _ in range(3)}

    assert len(tokens) == 3
    assert "syncer_session=chosen-by-somebody-else" not in tokens


def test_a_wrong_password_lets_nobody_in(guarded: Served) -> None:
    client = guarded.client()
    for password in ("wrong", "", PASSWORD.upper(), PASSWORD + " ", "x" * 5000):
        answer = log_in(client, password)
        assert answer.status_code in (401, 422)
        assert "set-cookie" not in answer.headers
        assert "xxxx" not in answer.text
    assert client.get("/api/v1/syncs").status_code == 401


def test_a_session_is_over_after_a_while(site: Site, guarded: Served) -> None:
    client = guarded.client()
    log_in(client)
    guarded.later(site, sessions.LENGTH - timedelta(minutes=1))
    assert client.get("/api/v1/syncs").status_code == 200
    guarded.later(site, sessions.LENGTH + timedelta(minutes=1))
    assert client.get("/api/v1/syncs").status_code == 401

    log_in(guarded.client())
    assert len(site.log("SELECT * FROM syncer_sessions")) == 1


def test_a_session_outlives_the_process_but_not_the_password(site: Site) -> None:
    with site.served(GUARDED) as served:
        client = served.client()
        log_in(client)
        cookie = {"Cookie": f"syncer_session={client.cookies['syncer_session']}"}
    with site.served(GUARDED) as served:
        assert served.client(headers=cookie).get("/api/v1/syncs").status_code == 200
    with site.served({**GUARDED, "SYNCER_WEB__PASSWORD": "another-long-one"}) as served:
        assert served.client(headers=cookie).get("/api/v1/syncs").status_code == 401


def test_a_session_of_the_earlier_format_stays_valid(site: Site) -> None:
    with site.served(GUARDED) as served:
        client = served.client()
        log_in(client)
        cookie = {"Cookie": f"syncer_session={client.cookies['syncer_session']}"}
    with closing(sqlite3.connect(site.path / ".syncer/runs.db")) as log, log:
        log.execute("ALTER TABLE syncer_sessions DROP COLUMN role")
        log.execute("DROP TABLE syncer_event_starts")
        log.execute("DROP TABLE syncer_removal_sets")
        log.execute("DROP TABLE syncer_removal_parts")
        log.execute(
            "CREATE TABLE syncer_removals (store_id TEXT, sync TEXT, entity TEXT, kind TEXT, value TEXT, seq INTEGER, "
            "open BOOLEAN, at TEXT)"
        )
        log.execute("UPDATE syncer_state SET schema_version = 8")

    with site.served(GUARDED) as served:
        assert served.client(headers=cookie).get("/api/v1/syncs").status_code == 200


def test_by_tls_the_cookie_goes_by_tls_alone(site: Site) -> None:
    url = {"SYNCER_WEB__URL": "https://syncer.example.com"}
    with site.served(GUARDED | url) as served:
        client = served.client(headers={"Host": "syncer.example.com", "Origin": "https://syncer.example.com"})
        by_url = log_in(client).headers["set-cookie"]
        from_http = served.client(headers={"Host": "syncer.example.com", "Origin": "http://syncer.example.com"})
        assert log_in(from_http).status_code == 403
        # A proxy that does not hand the name on.
        rewritten = served.client(headers={"Origin": "https://syncer.example.com"})
        assert log_in(rewritten).status_code == 303
    proxied = {"SYNCER_WEB__PROXY_HEADER": "X-User", "SYNCER_WEB__PROXY_ADDRESSES": "127.0.0.1, 10.0.0.0/8"}
    with site.served(GUARDED | proxied) as served:
        client = served.client(headers={"X-Forwarded-Proto": "https"})
        by_proxy = log_in(client).headers["set-cookie"]

    for cookie in (by_url, by_proxy):
        assert cookie.startswith("__Host-syncer_session=")
        assert "; Secure" in cookie
        assert "; HttpOnly" in cookie
        assert "Domain" not in cookie


def test_guessing_is_slowed_down(site: Site, guarded: Served) -> None:
    client = guarded.client()
    tried = [log_in(client, f"guess {i}").status_code for i in range(login.GUESSES)]
    refused = log_in(client)

    assert tried == [401] * login.GUESSES
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= login.WINDOW.total_seconds() + 1
    assert "set-cookie" not in refused.headers
    guarded.later(site, login.WINDOW + timedelta(seconds=1))
    assert log_in(client).status_code == 303
    assert log_in(client).status_code == 303


def test_guesses_are_counted_by_address_in_bounded_memory(site: Site) -> None:
    counted = login.Throttle(now=site.now)

    for i in range(login.GUESSES):
        assert counted.guess(f"2001:db8::{i}") is None
    assert counted.guess("2001:db8::ffff") is not None
    assert counted.guess("2001:db8:1::1") is None
    for i in range(30_000):
        counted.guess(f"10.{i // 65536}.{i // 256 % 256}.{i % 256}")
    assert len(counted._windows) == 10_000
    for _ in range(login.GUESSES):
        counted.guess("unknown")
    assert counted.guess("unknown") is not None


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "evil",
        "javascript:alert(1)",
        "/a\r\nX: y",
        "/" * 3000,
    ],
)
def test_no_link_leads_from_the_login_to_elsewhere(guarded: Served, wanted: str) -> None:
    answer = log_in(guarded.client(), next=wanted)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "x" not in answer.headers


def test_the_login_leads_to_what_was_wanted(guarded: Served) -> None:
    assert log_in(guarded.client(), next="/syncs/customers").headers["location"] == "/syncs/customers"


@pytest.mark.parametrize("text", ['/"><script>alert(1)</script>', "/{{ 7 * 7 }}", "/{% for x in y %}"])
def test_what_comes_from_outside_is_text_and_nothing_else(guarded: Served, text: str) -> None:
    page = guarded.client().get("/login", params={"next": text}).text

    assert "<script>" not in page
    assert "/49" not in page
    assert "&lt;script&gt;" in page or text in page
