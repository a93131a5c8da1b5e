"""Logging in through an OpenID Connect provider, a real one over HTTP."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from syncer.model.errors import SettingsError
from syncer.settings.service import Role
from syncer.state import sessions
from tests.servers.openid import OpenIdProvider, provider
from tests.web.browser import chromium, window
from tests.web.conftest import GUARDED, Served, Site
from tests.web.test_roles import MAY

#: What the provider uses of Authlib is going to change.
pytestmark = [
    pytest.mark.filterwarnings("ignore::authlib.deprecate.AuthlibDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning"),
]

SECRET = "canary-client-secret"
PEOPLE: dict[str, dict[str, Any]] = {
    "vera": {"email": "vera@example.com", "groups": ["everybody"]},
    "otto": {"email": "otto@example.com", "groups": ["everybody", "night-shift"]},
    "anna": {"email": "anna@example.com", "groups": "leads"},
    "nora": {"email": "nora@example.com", "groups": ["lead", 7]},
    "nemo": {"groups": ["leads"]},
}


@pytest.fixture(scope="module")
def running_provider() -> Iterator[OpenIdProvider]:
    with provider(PEOPLE) as running:
        yield running


@pytest.fixture
def openid(running_provider: OpenIdProvider) -> OpenIdProvider:
    running_provider.mend()
    return running_provider


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def settings(openid: OpenIdProvider) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "SYNCER_WEB__PORT": str(port),
        "SYNCER_WEB__URL": f"http://127.0.0.1:{port}",
        "SYNCER_WEB__OIDC__ISSUER": openid.issuer,
        "SYNCER_WEB__OIDC__CLIENT_ID": "syncer",
        "SYNCER_WEB__OIDC__CLIENT_SECRET": SECRET,
        "SYNCER_WEB__GROUPS__VIEWER": "everybody",
        "SYNCER_WEB__GROUPS__OPERATOR": "night-shift",
        "SYNCER_WEB__GROUPS__APPROVER": "leads",
    }


def sent_back(location: str, name: str) -> str:
    """Log in at the provider, and give the address to which it sends back."""
    answer = httpx2.post(location, data={"sub": name})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def begin(client: httpx2.Client, wanted: str = "/") -> str:
    answer = client.get("/login/oidc", params={"next": wanted})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def log_in(served: Served, name: str, wanted: str = "/") -> tuple[httpx2.Client, httpx2.Response]:
    client = served.client(headers={"Origin": served.address})
    return client, client.get(sent_back(begin(client, wanted), name))


def audited(served: Served) -> list[tuple[str, str, tuple[str, ...]]]:
    entries = served.process.app.state.audit.page(before=None, limit=100)
    return [(entry.action, entry.actor, entry.options) for entry in reversed(entries)]


def test_people_have_the_role_of_their_groups(site: Site, openid: OpenIdProvider) -> None:
    with site.served(settings(openid)) as served:
        for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR), ("anna", Role.APPROVER)):
            client, answer = log_in(served, name)
            assert answer.status_code == 200
            assert f"{name}@example.com, {role}" in answer.text
            assert f"{name}@example.com, {role}" in client.get("/", headers={"Accept": "text/html"}).text
            assert client.get("/api/v1/audit").status_code == MAY[role]["audit"]
            assert client.post("/api/v1/syncs/customers/pause").status_code == MAY[role]["plan"]
            assert client.post("/logout").status_code == 303
            assert client.get("/api/v1/syncs").status_code == 401
        assert ("login", "otto@example.com", ()) in audited(served)
        assert ("logout", "otto@example.com", ()) in audited(served)


def test_the_way_there_and_back_is_bound_to_one_browser(site: Site, openid: OpenIdProvider) -> None:
    with site.served(settings(openid)) as served:
        client = served.client(headers={"Accept": "text/html"})
        wanted = client.get("/syncs/customers?x=1")
        assert (wanted.status_code, wanted.headers["location"]) == (303, "/login/oidc?next=/syncs/customers%3Fx%3D1")

        answer = client.get(wanted.headers["location"])
        cookie = answer.headers["set-cookie"]
        assert re.match(r"syncer_login_\w{8}=[\w-]+; HttpOnly; Max-Age=600; Path=/; SameSite=lax$", cookie)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
        assert asked["redirect_uri"] == f"{served.address}/login/oidc/callback"
        assert asked["code_challenge_method"] == "S256"
        assert asked["response_type"] == "code"
        assert asked["scope"] == "openid profile email"
        assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3

        back = client.get(sent_back(answer.headers["location"], "anna"))
        assert "SameSite=strict" in back.headers["set-cookie"]
        assert '<meta http-equiv="refresh" content="0; url=/syncs/customers?x=1">' in back.text
        assert not [name for name in client.cookies if name.startswith("syncer_login")]

    ((headers, form),) = openid.asked
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
    assert headers["Authorization"].startswith("Basic ")


def test_the_secret_is_sent_as_the_provider_takes_it(site: Site, openid: OpenIdProvider) -> None:
    openid.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    with site.served(settings(openid)) as served:
        assert log_in(served, "otto")[1].status_code == 200
    ((headers, form),) = openid.asked
    assert "Authorization" not in headers
    assert form["client_secret"] == SECRET


def test_a_login_fits_into_a_cookie_whatever_it_leads_to(site: Site, openid: OpenIdProvider) -> None:
    with site.served(settings(openid)) as served:
        for wanted, opened in (("/" + "x" * 1500, "/" + "x" * 1500), ("/" + "ü" * 1500, "/")):
            answer = served.client().get("/login/oidc", params={"next": wanted})
            assert len(answer.headers["set-cookie"]) < 4096
            assert f'; url={opened}"' in log_in(served, "vera", wanted)[1].text


def test_what_the_token_lacks_is_read_from_the_userinfo(site: Site, openid: OpenIdProvider) -> None:
    openid.claims = {"groups": None, "email": None}
    with site.served(settings(openid)) as served:
        assert "otto@example.com, operator" in log_in(served, "otto")[1].text
        openid.claims = {"groups": None, "sub": "vera"}
        assert log_in(served, "anna")[1].status_code == 403


#: What is wrong with an id token, and how it is signed, by the reason in the audit log.
INVALID: list[tuple[str, dict[str, Any], Literal["well", "by another", "not"]]] = [
    ("wrong_nonce", {"nonce": "another"}, "well"),
    ("expired_token", {"exp": 1_000_000_000}, "well"),
    ("wrong_audience", {"aud": ["another"]}, "well"),
    ("wrong_audience", {"aud": ["another"], "azp": "syncer"}, "well"),
    ("wrong_issuer", {"iss": "https://another.example"}, "well"),
    ("wrong_signature", {}, "by another"),
    ("invalid_token", {}, "not"),
    ("invalid_token", {"exp": "never"}, "well"),
]


def test_a_token_that_is_not_valid_lets_nobody_in(site: Site, openid: OpenIdProvider) -> None:
    openid.metadata = {"id_token_signing_alg_values_supported": ["none", "RS256"]}
    with site.served(settings(openid)) as served:
        for reason, openid.claims, openid.signed in INVALID:
            client, answer = log_in(served, "anna")
            assert answer.status_code == 401, reason
            assert f"sent a token that is not valid: {reason.replace('_', ' ')}." in answer.text
            assert client.get("/api/v1/syncs").status_code == 401
        assert audited(served) == [("failed_login", "", (reason,)) for reason, _, _ in INVALID]
    assert not site.log("SELECT * FROM syncer_sessions")


def test_a_login_that_another_browser_began_lets_nobody_in(site: Site, openid: OpenIdProvider) -> None:
    with site.served(settings(openid)) as served:
        mine, others = served.client(), served.client()
        back = sent_back(begin(others), "anna")
        begin(mine)
        state = parse_qs(urlsplit(back).query)["state"][0]
        for url in (back, back.replace(state, state[::-1]), "/login/oidc/callback", "/login/oidc/callback?state=%00"):
            answer = mine.get(url)
            assert answer.status_code == 400
            assert "did not begin in this browser" in answer.text
            assert "set-cookie" not in answer.headers
        assert others.get(back).status_code == 200
        # A code and a state work once.
        assert others.get(back).status_code == 400
        assert audited(served).count(("failed_login", "", ("wrong_state",))) == 5
        for _ in range(20):
            last = mine.get("/login/oidc/callback")
        assert last.status_code == 429
    assert len(openid.asked) == 1


def test_who_does_not_let_the_provider_tell_is_not_logged_in(site: Site, openid: OpenIdProvider) -> None:
    with site.served(settings(openid)) as served:
        client = served.client()
        state = parse_qs(urlsplit(begin(client)).query)["state"][0]
        answer = client.get("/login/oidc/callback", params={"state": state, "error": "access_denied"})
        assert (answer.status_code, "did not log you in: access denied." in answer.text) == (403, True)
        assert audited(served) == [("failed_login", "", ("denied",))]


def test_who_is_in_no_group_may_do_nothing_and_reads_so(site: Site, openid: OpenIdProvider) -> None:
    with site.served(settings(openid)) as served:
        client, answer = log_in(served, "nora")
        assert answer.status_code == 403
        assert "nora@example.com is in no group that may use Syncer." in answer.text
        assert client.get("/api/v1/syncs").status_code == 401
        _, nameless = log_in(served, "nemo")
        assert nameless.status_code == 403
        assert "gives no email. Check SYNCER_WEB__OIDC__NAME_CLAIM" in nameless.text
        assert audited(served) == [
            ("failed_login", "nora@example.com", ("no_group",)),
            ("failed_login", "", ("no_name",)),
        ]


def test_a_provider_that_does_not_answer_is_named_and_no_secret(
    site: Site, openid: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with site.served({**settings(openid), "SYNCER_WEB__OIDC__ISSUER": "http://localhost:9"}) as served:
        answer = served.client(headers={"Accept": "text/html"}).get("/login/oidc")
        assert answer.status_code == 502
        assert "The provider at localhost:9 gives no usable answer. Check SYNCER_WEB__OIDC__ISSUER" in answer.text
        assert "set-cookie" not in answer.headers
    with site.served(settings(openid)) as served:
        for openid.metadata in ({"issuer": "https://another.example"}, {"token_endpoint": None}, {"jwks_uri": 7}):
            assert served.client().get("/login/oidc").status_code == 502
    assert "the OpenID Connect provider at localhost:9 gave no usable answer: ConnectError" in caplog.text
    assert SECRET not in answer.text + caplog.text


def test_a_provider_that_goes_away_meanwhile_lets_nobody_in(site: Site) -> None:
    with ExitStack() as until_gone:
        openid = until_gone.enter_context(provider(PEOPLE))
        with site.served(settings(openid)) as served:
            client = served.client()
            back = sent_back(begin(client, "/runs"), "anna")
            code = parse_qs(urlsplit(back).query)["code"][0]
            answer = client.get(back.replace(code, "another"))
            assert (answer.status_code, "refused the login: invalid_grant" in answer.text) == (502, True)
            until_gone.close()
            answer = client.get(back)
            assert (answer.status_code, "gives no usable answer" in answer.text) == (502, True)
            assert "next=/runs" in answer.text
            assert [options for _, _, options in audited(served)] == [("denied",), ("unreachable_provider",)]


def test_a_session_lasts_until_its_end_or_another_secret(site: Site, openid: OpenIdProvider) -> None:
    given = settings(openid)
    with site.served(given) as served:
        client, _ = log_in(served, "vera")
        cookie = {"Cookie": f"syncer_session={client.cookies['syncer_session']}"}
    # The role stays that of the login.
    with site.served({**given, "SYNCER_WEB__GROUPS__APPROVER": "everybody"}) as served:
        client = served.client(headers=cookie)
        assert client.get("/api/v1/syncs").status_code == 200
        assert client.get("/api/v1/audit").status_code == 403
    for changed in ({**given, "SYNCER_WEB__OIDC__CLIENT_SECRET": "another"}, GUARDED):
        with site.served(changed) as served:
            assert served.client(headers=cookie).get("/api/v1/syncs").status_code == 401
    with site.served(given) as served:
        served.later(site, sessions.LENGTH - timedelta(minutes=1))
        assert served.client(headers=cookie).get("/api/v1/syncs").status_code == 200
        served.later(site, sessions.LENGTH + timedelta(minutes=1))
        assert served.client(headers=cookie).get("/api/v1/syncs").status_code == 401


def test_below_a_root_path_by_tls(site: Site, openid: OpenIdProvider) -> None:
    below = {"SYNCER_WEB__URL": "https://intranet.example", "SYNCER_WEB__ROOT_PATH": "/syncer"}
    with site.served({**settings(openid), **below}) as served:
        client = served.client(headers={"Host": "intranet.example", "Accept": "text/html"})
        assert client.get("/syncer/").headers["location"] == "/syncer/login/oidc?next=/"
        answer = client.get("/syncer/login/oidc")
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name.startswith("__Secure-syncer_login_")
        assert "; Path=/syncer/; SameSite=lax; Secure" in rest
        back = sent_back(answer.headers["location"], "vera")
        assert back.startswith("https://intranet.example/syncer/login/oidc/callback?")
        cookie = {"Cookie": f"{name}={rest.partition(';')[0]}", "Host": "intranet.example"}
        done = served.client(headers=cookie).get(back.removeprefix("https://intranet.example"))
        assert 'content="0; url=/syncer/"' in done.text
        assert '<a class="button is-main" href="/syncer/">' in done.text


def test_settings_that_lead_nowhere_are_rejected(site: Site, openid: OpenIdProvider) -> None:
    given = settings(openid)
    for gone, problem in (
        ("URL", "SYNCER_WEB__OIDC__ISSUER: needs SYNCER_WEB__URL"),
        ("OIDC__CLIENT_SECRET", "SYNCER_WEB__OIDC__CLIENT_SECRET: is not set"),
    ):
        left = {name: value for name, value in given.items() if name != f"SYNCER_WEB__{gone}"}
        with pytest.raises(SettingsError, match=problem), site.served(left):
            pass
    groupless = {name: value for name, value in given.items() if "GROUPS" not in name}
    with pytest.raises(SettingsError, match="needs a group in SYNCER_WEB__GROUPS__VIEWER"), site.served(groupless):
        pass
    misspelled = {**given, "SYNCER_WEB__OIDC__SCOPE": "openid"}
    with pytest.raises(SettingsError, match="did you mean SYNCER_WEB__OIDC__SCOPES"), site.served(misspelled):
        pass


def test_without_the_extra_the_service_does_not_start(
    site: Site, openid: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "syncer.web.auth.oidc", raising=False)
    monkeypatch.delitem(sys.modules, "syncer.web.auth.provider", raising=False)
    monkeypatch.setitem(sys.modules, "authlib.integrations.starlette_client", None)
    with pytest.raises(SettingsError, match="OpenID Connect is not installed") as caught, site.served(settings(openid)):
        pass
    assert caught.value.hint == "Install it with `pip install 'syncer[oidc]'`."


def test_a_browser_goes_there_and_back(site: Site, openid: OpenIdProvider, browser: Browser) -> None:
    given = {**GUARDED, **settings(openid)}
    with site.served(given) as served, window(browser, served.address) as opened:
        page = opened.page
        opened.open("/syncs/customers")
        faults = opened.shoot("login-oidc")
        page.get_by_role("link", name=f"Log in through localhost:{openid.port}").click()
        page.get_by_role("button", name="nora").click()
        expect(page.get_by_role("alert")).to_contain_text("nora@example.com is in no group")
        faults += opened.shoot("login-no-group")
        page.get_by_role("link", name="Log in through").click()
        page.get_by_role("button", name="otto").click()
        page.wait_for_url(f"{served.address}/syncs/customers")
        expect(page.locator(".who")).to_contain_text("otto@example.com, operator")
        page.get_by_role("link", name="Audit").click()
        rows = page.get_by_role("table").locator("tbody tr")
        expect(rows.nth(0)).to_contain_text("login")
        expect(rows.nth(1)).to_contain_text("no group")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in")).to_be_visible()
        opened.faults[:] = [fault for fault in opened.faults if not fault.startswith(f"asked: {openid.issuer}/")]
    assert "\n".join(faults) == ""


def test_a_browser_without_a_password_goes_to_the_provider_at_once(
    site: Site, openid: OpenIdProvider, browser: Browser
) -> None:
    with site.served(settings(openid)) as served, window(browser, served.address) as opened:
        page = opened.page
        opened.open("/runs")
        page.get_by_role("button", name="vera").click()
        page.wait_for_url(f"{served.address}/runs")
        expect(page.locator(".who")).to_contain_text("vera@example.com, viewer")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("link", name="Log in through")).to_be_visible()
        faults = opened.shoot("login-oidc-alone")
        opened.faults[:] = [fault for fault in opened.faults if not fault.startswith(f"asked: {openid.issuer}/")]
    assert "\n".join(faults) == ""
