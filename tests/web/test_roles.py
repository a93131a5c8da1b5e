"""What viewers, operators and approvers may do, and how they prove who they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from syncer.model.errors import SettingsError
from syncer.settings.service import GroupSettings, Role, Scope, WebSettings
from syncer.web.auth import access
from tests.web.browser import chromium, window
from tests.web.conftest import (
    APPROVE_TOKEN,
    GUARDED,
    PASSWORD,
    PASSWORD_HASH,
    READ_TOKEN,
    RUN_TOKEN,
    Served,
    Site,
    wait_until,
)

PEOPLE = {
    f"SYNCER_WEB__PEOPLE__{name}__{field}": value
    for name, role in (("VERA", "viewer"), ("OTTO", "operator"), ("ANNA", "approver"))
    for field, value in (("PASSWORD", PASSWORD_HASH), ("ROLE", role))
}
BEHIND_PROXY = {
    "SYNCER_WEB__PROXY_HEADER": "X-Forwarded-User",
    "SYNCER_WEB__PROXY_ADDRESSES": "127.0.0.1",
    "SYNCER_WEB__PROXY_GROUPS_HEADER": "X-Forwarded-Groups",
    "SYNCER_WEB__GROUPS__VIEWER": "everybody",
    "SYNCER_WEB__GROUPS__OPERATOR": "data-team, night-shift",
    "SYNCER_WEB__GROUPS__APPROVER": "leads",
}

#: What each role may do, as status codes of the service.
MAY = {
    Role.VIEWER: {"list": 200, "find": 403, "audit": 403, "plan": 403, "run": 403, "lift": 403},
    Role.OPERATOR: {"list": 200, "find": 200, "audit": 200, "plan": 200, "run": 202, "lift": 403},
    Role.APPROVER: {"list": 200, "find": 200, "audit": 200, "plan": 200, "run": 202, "lift": 202},
}


def done_by(client: httpx2.Client, served: Served) -> dict[str, int]:
    """The status code of the answer to each thing that a role may allow."""
    found = {
        "list": client.get("/api/v1/syncs").status_code,
        "find": client.get("/find?q=1").status_code,
        "audit": client.get("/audit").status_code,
        "plan": client.post("/api/v1/syncs/customers/plan").status_code,
    }
    for what, options in (("run", {}), ("lift", {"allow_limits": True})):
        found[what] = client.post("/api/v1/syncs/customers/runs", json=options).status_code
        wait_until(lambda: not served.service.pool.active_runs())
    return found


def logged_in(served: Served, name: str) -> httpx2.Client:
    client = served.client(headers={"Origin": served.address})
    assert client.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
    return client


def test_a_token_may_do_what_its_scope_says(guarded: Served) -> None:
    for token, scope in ((READ_TOKEN, Scope.READ), (RUN_TOKEN, Scope.RUN), (APPROVE_TOKEN, Scope.APPROVE)):
        assert done_by(guarded.client(token), guarded) == MAY[scope.role], scope


def test_a_person_may_do_what_their_role_says_and_is_named(site: Site) -> None:
    with site.served(PEOPLE) as served:
        for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR), ("anna", Role.APPROVER)):
            client = logged_in(served, name)
            assert done_by(client, served) == MAY[role], role
            assert f"{name}, {role}" in client.get("/", headers={"Accept": "text/html"}).text
            assert client.post("/logout").status_code == 303
        actors = {entry.actor for entry in served.process.app.state.audit.page(before=None, limit=100)}

    assert actors == {"vera", "otto", "anna"}


def test_the_password_of_all_stays_that_of_an_approver_beside_people(site: Site) -> None:
    with site.served({**GUARDED, **PEOPLE}) as served:
        assert done_by(logged_in(served, ""), served) == MAY[Role.APPROVER]
        for name in ("nobody", "vera "):
            answer = served.client().post("/login", data={"name": name, "password": "wrong"})
            assert answer.status_code == 401
            assert "Wrong name or password." in answer.text


def test_a_password_is_that_of_one_person(site: Site) -> None:
    with site.served({**PEOPLE, "SYNCER_WEB__PEOPLE__VERA__PASSWORD": "another one of hers"}) as served:
        client = served.client()
        assert client.post("/login", data={"name": "vera", "password": PASSWORD}).status_code == 401
        assert client.post("/login", data={"name": "", "password": PASSWORD}).status_code == 401
        assert client.post("/login", data={"name": "otto", "password": PASSWORD}).status_code == 303


def test_a_new_password_ends_the_sessions_of_one_person_and_their_end_those_of_another(site: Site) -> None:
    with site.served(PEOPLE) as served:
        cookies = {name: logged_in(served, name).cookies["syncer_session"] for name in ("vera", "otto", "anna")}
    changed = {name: value for name, value in PEOPLE.items() if "OTTO" not in name}
    changed["SYNCER_WEB__PEOPLE__VERA__PASSWORD"] = "a new one of hers"

    with site.served(changed) as served:
        clients = {name: served.client(headers={"Cookie": f"syncer_session={it}"}) for name, it in cookies.items()}
        codes = {name: client.get("/api/v1/syncs").status_code for name, client in clients.items()}

    assert codes == {"vera": 401, "otto": 401, "anna": 200}


def test_the_password_of_a_person_may_be_in_a_file(site: Site) -> None:
    (site.path / "vera").write_text(f"{PASSWORD_HASH}\n")
    with site.served({"SYNCER_WEB__PEOPLE__VERA__PASSWORD_FILE": "vera"}) as served:
        assert done_by(logged_in(served, "vera"), served) == MAY[Role.VIEWER]


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ("everybody", Role.VIEWER),
        ("everybody, night-shift", Role.OPERATOR),
        ("data-team,leads", Role.APPROVER),
    ],
)
def test_a_proxy_names_the_groups_of_a_person(site: Site, groups: str, role: Role) -> None:
    with site.served(BEHIND_PROXY) as served:
        client = served.client(headers={"X-Forwarded-User": "ann", "X-Forwarded-Groups": groups})
        assert done_by(client, served) == MAY[role]


def test_who_is_in_no_group_may_do_nothing(site: Site) -> None:
    with site.served(BEHIND_PROXY) as served:
        for groups in ({}, {"X-Forwarded-Groups": ""}, {"X-Forwarded-Groups": "lead, s"}):
            answer = served.client(headers={"X-Forwarded-User": "ann", **groups}).get("/api/v1/syncs")
            assert answer.status_code == 403
            assert answer.json()["detail"] == "ann is in no group that may use Syncer"
    with site.served({**BEHIND_PROXY, "SYNCER_WEB__PROXY_ADDRESSES": "10.0.0.1"}) as served:
        headers = {"X-Forwarded-User": "ann", "X-Forwarded-Groups": "leads"}
        assert served.client(headers=headers).get("/api/v1/syncs").status_code == 401


def test_without_a_header_for_groups_everybody_behind_the_proxy_is_an_approver(site: Site) -> None:
    plain = {name: value for name, value in BEHIND_PROXY.items() if "GROUPS" not in name}
    with site.served(plain) as served:
        assert done_by(served.client(headers={"X-Forwarded-User": "ann"}), served) == MAY[Role.APPROVER]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"people": {"ann": {"password": "changeme123"}}}, "SYNCER_WEB__PEOPLE__ANN__PASSWORD: is an example"),
        ({"people": {"ann": {"password": "short"}}}, "SYNCER_WEB__PEOPLE__ANN__PASSWORD: must have at least 10"),
        ({"people": {"ann": {"password": "$argon2id$no"}}}, "SYNCER_WEB__PEOPLE__ANN__PASSWORD: begins like an Argon2"),
        ({"people": {"token ci": {"password": "quite long enough"}}}, "SYNCER_WEB__PEOPLE__TOKEN CI: should be a name"),
        ({"people": {"local": {"password": "quite long enough"}}}, "SYNCER_WEB__PEOPLE__LOCAL: should be a name"),
        ({"proxy_groups_header": "X-Groups"}, "SYNCER_WEB__PROXY_GROUPS_HEADER: needs SYNCER_WEB__PROXY_HEADER"),
    ],
)
def test_settings_that_let_in_anybody_are_rejected(settings: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(named)) as caught:
        access.check(WebSettings.model_validate(settings))
    assert "short" not in str(caught.value)


def test_a_role_includes_those_before_it() -> None:
    for place, role in enumerate(Role):
        assert [role.includes(other) for other in Role] == [at <= place for at in range(len(Role))]
    assert GroupSettings(viewer=["a"], approver=["a"]).role(["a"]) is Role.APPROVER
    assert GroupSettings().role(["a"]) is None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def test_people_log_in_by_name_and_read_who_did_what(site: Site, browser: Browser) -> None:
    with site.served(PEOPLE) as served, window(browser, served.address) as opened:
        page = opened.page
        opened.open("/syncs/customers")
        faults = opened.shoot("login-name")
        page.get_by_label("Name").fill("otto")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(".who")).to_contain_text("otto, operator")
        page.get_by_role("button", name="Run now").click()
        page.get_by_role("link", name="Audit").click()
        rows = page.get_by_role("table").locator("tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("run")
        expect(rows.nth(0)).to_contain_text("otto")
        expect(rows.nth(1)).to_contain_text("login")
        faults += opened.shoot("audit")
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Name").fill("vera")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(".who")).to_contain_text("vera, viewer")
        expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    assert "\n".join(faults) == ""
