"""What proxies say of a caller: over several lines, through several proxies, with ports, and by whom it is believed."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from syncer.model.errors import SettingsError
from syncer.settings.service import WebSettings
from syncer.web.auth import access, login
from syncer.web.auth.access import Access
from syncer.web.auth.safety import AllowedHosts
from syncer.web.problems import ProblemError
from tests.web.conftest import GUARDED, PASSWORD, Served, Site

TRUSTED = "127.0.0.1, 10.0.0.0/8, fd00::/8"


def web(**fields: Any) -> WebSettings:
    return WebSettings.model_validate({"password": PASSWORD, **fields})


def request(peer: str, *headers: tuple[str, str]) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "client": (peer, 1), "headers": raw, "method": "POST", "path": "/"})


@pytest.mark.parametrize(
    ("peer", "lines", "address"),
    [
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        # HAProxy adds a line of its own; the first is the caller's.
        ("127.0.0.1", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.7", "10.1.2.3"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7, 10.1.2.3, 10.3.2.1"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("127.0.0.1", ["[2001:db8::7]:4711, 10.1.2.3:80"], "2001:db8::7"),
        ("127.0.0.1", ["2001:db8::7, fd00::1"], "2001:db8::7"),
        ("127.0.0.1", ["203.0.113.7, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["unknown, 10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["10.1.2.4"], "10.1.2.4"),
        ("127.0.0.1", ["", " , "], "127.0.0.1"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
    ],
)
def test_the_address_is_that_which_the_outermost_trusted_proxy_names(peer: str, lines: list[str], address: str) -> None:
    found = Access(web(proxy_addresses=TRUSTED)).address(request(peer, *(("X-Forwarded-For", line) for line in lines)))

    assert found == address


def test_clients_behind_a_proxy_have_a_throttle_each_though_no_header_names_users(site: Site) -> None:
    with site.served({**GUARDED, "SYNCER_WEB__PROXY_ADDRESSES": "127.0.0.1"}) as served:
        attacker = served.client(headers={"X-Forwarded-For": "203.0.113.7"})
        for _ in range(login.GUESSES + 1):
            last = attacker.post("/login", data={"password": "a guess"}).status_code
        other = served.client(headers={"X-Forwarded-For": "203.0.113.8"})

        assert last == 429
        assert other.post("/login", data={"password": PASSWORD}).status_code == 303


@pytest.mark.parametrize(
    ("proto", "origin", "secure"),
    [
        (["https"], "https://syncer.example.com", True),
        (["HTTPS"], "https://syncer.example.com", True),
        (["https, http"], "https://syncer.example.com", True),
        (["https", "http"], "https://syncer.example.com", True),
        (["http"], "http://syncer.example.com", False),
        ([], "http://syncer.example.com", False),
        (["nonsense"], "http://syncer.example.com", False),
    ],
)
def test_forms_work_behind_a_chain_of_proxies(proto: list[str], origin: str, secure: bool) -> None:
    settings = web(proxy_addresses=TRUSTED)
    hosts = AllowedHosts(settings, Access(settings))
    lines = [("Host", "syncer.example.com"), ("Origin", origin), *(("X-Forwarded-Proto", line) for line in proto)]

    hosts.check_origin(request("127.0.0.1", *lines), required=True)
    assert hosts.is_secure(request("127.0.0.1", *lines)) is secure
    if proto[:1] == ["https"]:
        # Nobody else may say so.
        with pytest.raises(ProblemError):
            hosts.check_origin(request("192.0.2.1", *lines), required=True)


@pytest.mark.parametrize("token", ["tökens-of-sixteen", "ends-with-a-blank-", "a-tab\tin-the-middle"])
def test_a_token_that_no_header_can_have_is_refused_at_start(token: str) -> None:
    token = token.replace("blank-", "blank ")
    with pytest.raises(SettingsError) as raised:
        access.check(web(tokens={"ci": {"token": token}}))

    assert "SYNCER_WEB__TOKENS__CI__TOKEN" in raised.value.message
    assert token not in raised.value.message


@pytest.mark.parametrize("root", ["", "/intranet"])
def test_a_redirect_leads_to_where_the_caller_came_from(site: Site, root: str) -> None:
    with site.served({"SYNCER_WEB__PROXY_ADDRESSES": "10.0.0.9", "SYNCER_WEB__ROOT_PATH": root}) as served:
        answer = served.client().get(f"{root}/runs/?status=failed")

    assert answer.status_code in (307, 308)
    assert answer.headers["location"] == f"{root}/runs?status=failed"


def test_the_login_leads_back_to_the_whole_address(guarded: Served) -> None:
    client = guarded.client(headers={"Accept": "text/html"})

    refused = client.get("/runs?status=failed&sync=a%26b")

    assert refused.headers["location"] == "/login?next=/runs%3Fstatus%3Dfailed%26sync%3Da%2526b"
    form = client.get(refused.headers["location"])
    assert 'value="/runs?status=failed&amp;sync=a%26b"' in form.text


#: Beyond what a column of PostgreSQL holds, and text that it cannot hold.
ODD = [
    "/runs?before=%00",
    "/runs?sync=%00",
    "/runs?status=%00",
    "/runs/%00",
    "/syncs/customers?before=%00",
    "/syncs/customers?key=%00",
    "/syncs/%00",
    "/?text=%00&tag=%00",
    "/api/v1/runs?sync=%00",
    "/api/v1/runs?cursor=%00",
    "/api/v1/runs/%00",
    "/api/v1/audit?cursor=999999999999999",
    "/api/v1/syncs/customers/rejected?cursor=999999999999999",
]


def test_an_odd_value_in_an_address_is_the_callers_fault(site: Site, postgres_url: str) -> None:
    site.define("customers")
    with site.served({"SYNCER_DATABASE_URL": postgres_url}) as served:
        client = served.client()
        answers = {path: client.get(path).status_code for path in ODD}

    assert {path: status for path, status in answers.items() if status not in (200, 404, 422)} == {}
