"""The service behind a proxy that shows it below a path, such as `https://intranet/syncer/`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from urllib.parse import urldefrag

import httpx2
import pytest

from tests.web.conftest import GUARDED, PASSWORD, RUN_TOKEN, Served, Site

ROOT = "/intranet/syncer"
#: Every attribute that leads somewhere.
_LINK = re.compile(r'\s(?:href|src|action|data-[a-z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """What is between people and the service."""

    settings: dict[str, str]
    headers: dict[str, str]
    #: Whether it passes the path on without the root path.
    strips: bool

    def path(self, public: str) -> str:
        """The path that the service gets."""
        assert public == ROOT or public.startswith(f"{ROOT}/"), public
        return (public.removeprefix(ROOT) or "/") if self.strips else public


BY_SETTING = {"SYNCER_WEB__ROOT_PATH": f"{ROOT}/"}
TRUSTED = {"SYNCER_WEB__PROXY_ADDRESSES": "127.0.0.1"}
PREFIX = {"X-Forwarded-Prefix": ROOT}
PROXIES = {
    "setting": Proxy(settings=BY_SETTING, headers={}, strips=False),
    "setting, stripped": Proxy(settings=BY_SETTING, headers={}, strips=True),
    "header": Proxy(settings=TRUSTED, headers=PREFIX, strips=False),
    "header, stripped": Proxy(settings=TRUSTED, headers=PREFIX, strips=True),
    "header before setting": Proxy(
        settings={**TRUSTED, "SYNCER_WEB__ROOT_PATH": "/other"}, headers=PREFIX, strips=True
    ),
}


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> Proxy:
    return PROXIES[request.param]


@contextmanager
def below(site: Site, proxy: Proxy, **more: str) -> Iterator[Served]:
    with site.served({**GUARDED, **proxy.settings, **more}) as served:
        yield served


def targets(page: str) -> set[str]:
    """Where a page leads, as browsers see it."""
    found = {unescape(target) for target in _LINK.findall(page)}
    return {urldefrag(target).url for target in found if target.startswith(("/", "."))}


def test_every_link_form_file_and_redirect_stays_below_it(site: Site, proxy: Proxy) -> None:
    with below(site, proxy) as served:
        client = served.client(headers={**proxy.headers, "Accept": "text/html", "Origin": served.address})
        moved = client.get(proxy.path(f"{ROOT}/runs"))
        assert (moved.status_code, moved.headers["location"]) == (303, f"{ROOT}/login?next=/runs")
        let_in = client.post(proxy.path(f"{ROOT}/login"), data={"password": PASSWORD, "next": "/runs"})
        assert (let_in.status_code, let_in.headers["location"]) == (303, f"{ROOT}/runs")
        assert f"Path={ROOT}/;" in let_in.headers["set-cookie"]
        cookie = {"Cookie": let_in.headers["set-cookie"].partition(";")[0]}
        started = client.post(proxy.path(f"{ROOT}/syncs/customers/run"), headers=cookie)
        assert started.headers["location"].startswith(f"{ROOT}/runs/")

        seen, waiting = set[str](), {f"{ROOT}/", started.headers["location"], f"{ROOT}/docs", f"{ROOT}/api/v1/docs"}
        while waiting and len(seen) < 80:
            public = waiting.pop()
            seen.add(public)
            answer = client.get(proxy.path(public), headers=cookie)
            # The targets of forms may want another method.
            assert answer.status_code in (200, 303, 405), public
            assert answer.headers.get("location", ROOT).startswith(ROOT), public
            if answer.headers.get("content-type", "").startswith("text/html"):
                found = targets(answer.text)
                assert not [target for target in found if not target.startswith(f"{ROOT}/")], public
                # Filters and orders of the list make many addresses of one page.
                lists = {target for target in found if target.startswith(f"{ROOT}/?")}
                waiting |= {target for target in found - lists if not target.endswith("/events")} - seen

    for part in ("/static/app.css", "/static/app.js", "/runs", "/syncs/customers", "/docs/access", "/connections"):
        assert [public for public in seen if public.startswith(ROOT + part)], part


def test_the_api_s_document_says_where_it_is(site: Site, proxy: Proxy) -> None:
    with below(site, proxy) as served:
        client = served.client(RUN_TOKEN, headers=proxy.headers)
        document = client.get(proxy.path(f"{ROOT}/api/v1/openapi.json")).json()
        plain = served.client(RUN_TOKEN).get("/api/v1/openapi.json").json()

    assert document["servers"] == [{"url": ROOT}]
    assert document["paths"].keys() == plain["paths"].keys()


def test_over_tls_no_other_service_of_the_host_gets_the_cookie(site: Site) -> None:
    proxy = PROXIES["setting"]
    with below(site, proxy, SYNCER_WEB__URL="https://intranet.example") as served:
        client = served.client(headers={"Host": "intranet.example", "Origin": "https://intranet.example"})
        answer = client.post(f"{ROOT}/login", data={"password": PASSWORD})
        cookie = answer.headers["set-cookie"]
        assert re.match(rf"__Secure-syncer_session=.*Path={ROOT}/; SameSite=strict; Secure$", cookie), cookie
        known = {"Cookie": cookie.partition(";")[0]}
        assert client.get(f"{ROOT}/api/v1/syncs", headers=known).status_code == 200

        out = client.post(f"{ROOT}/logout", headers=known)
        assert f"Path={ROOT}/" in out.headers["set-cookie"]
        assert client.get(f"{ROOT}/api/v1/syncs", headers=known).status_code == 401


def test_a_path_below_it_needs_what_the_path_needs(site: Site) -> None:
    proxy = Proxy(settings={"SYNCER_WEB__ROOT_PATH": "/static"}, headers={}, strips=False)
    with below(site, proxy) as served:
        client = served.client()
        assert client.get("/static/livez").status_code == 200
        for path in ("/static/api/v1/syncs", "/static/metrics", "/static/static/../api/v1/syncs", "/api/v1/syncs"):
            assert client.get(path).status_code in (401, 404), path
        assert client.get("/static/static/app.css").status_code == 200


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "/a b", "/../x", "https://evil.example", '/x"><script>', "/" + "x" * 300, "/a, /b"]
)
def test_a_prefix_that_is_no_path_counts_for_nothing(site: Site, prefix: str) -> None:
    with site.served({**GUARDED, **TRUSTED}) as served:
        assert _login_at(served.client(headers={"X-Forwarded-Prefix": prefix})) == "/login?next=/"


def test_only_a_trusted_proxy_s_prefix_counts(site: Site) -> None:
    with site.served({**GUARDED, "SYNCER_WEB__PROXY_ADDRESSES": "10.0.0.9"}) as served:
        assert _login_at(served.client(headers=PREFIX)) == "/login?next=/"
    with site.served() as served:
        # A proxy that the settings do not name is nobody on this machine.
        assert served.client(headers=PREFIX).get("/api/v1/syncs").status_code == 401


def _login_at(client: httpx2.Client) -> str:
    return str(client.get("/", headers={"Accept": "text/html"}).headers["location"])
