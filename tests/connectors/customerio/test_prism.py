"""Requests to Customer.io through Prism, which others wrote, beside what our own stand-in checks."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.customerio.options import Via
from syncer.model.types import Entity, Identity, Limits, OnRemoved, PersonKey, Target
from syncer.settings.registry import open_store
from tests.connectors.customerio.test_flow import MEMBER, OF_EVERY_TYPE
from tests.servers.customerio import CustomerIOServer, customerio_server
from tests.servers.prism import prism_proxy
from tests.workbench import Workbench, table

ACCOUNT = Target(entity=Entity.OBJECT, object_type="account", key_columns=("id",))
PERSON = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",))
BY_EMAIL = Target(entity=Entity.PERSON, person_key=PersonKey.EMAIL, key_columns=("email",))
#: The Pipelines API takes people by their id alone.
CASES = [(BY_EMAIL, Via.TRACK), *((target, via) for target in (PERSON, ACCOUNT, MEMBER) for via in Via)]


@pytest.fixture(scope="module")
def server() -> Iterator[CustomerIOServer]:
    with customerio_server() as running:
        yield running


@pytest.fixture(scope="module")
def proxies(server: CustomerIOServer) -> Iterator[dict[str, str]]:
    """The addresses of the two APIs, by the option that takes them."""
    with ExitStack() as stack:
        yield {
            "track_url": stack.enter_context(prism_proxy("track", server.address)),
            "cdp_url": stack.enter_context(prism_proxy("pipelines", server.address)),
        }


class Bench(Workbench):
    """A workbench whose store is reached through Prism."""

    server: CustomerIOServer
    given: dict[str, Any]

    @contextmanager
    def connected(self) -> Iterator[None]:
        options = self.server.options(**self.given)
        store = open_store(
            "crm", "customerio://us", identity=Identity.ID_OR_EMAIL, options=options, started_at=self.clock
        )
        with closing(store):
            self.store = store  # type: ignore[assignment]
            yield

    def feed(self, result: pa.Table) -> None:
        """Run, and expect that nothing is rejected."""
        with self.connected():
            counts = self.run(result).counts
            assert counts.rejected == 0, self.rejections()


@pytest.fixture
def bench(tmp_path: Path, server: CustomerIOServer, proxies: dict[str, str]) -> Bench:
    server.workspace.unique = ("id", "email")
    bench = Bench(tmp_path)
    bench.server, bench.given = server, dict(proxies)
    return bench


@pytest.mark.parametrize("on_removed", [OnRemoved.CLEAR, OnRemoved.DELETE])
@pytest.mark.parametrize(("target", "via"), CASES, ids=lambda given: getattr(given, "person_key", given))
def test_every_sort_of_change_is_what_the_definitions_allow(
    bench: Bench, target: Target, on_removed: OnRemoved, via: Via
) -> None:
    bench.given["via"] = via
    bench.adjust(target=target, on_removed=on_removed, limits=Limits(allow_empty=True))
    of_every_type = {name: values for name, values in OF_EVERY_TYPE.items() if name not in target.key_columns}
    nulls = {name: pa.nulls(1, values.type) for name, values in of_every_type.items()}
    keys: dict[str, Any] = {column: ["ann@x.com" if column == "email" else "1"] for column in target.key_columns}

    for columns in (of_every_type, nulls, of_every_type):
        bench.feed(table({**keys, **columns}))
    bench.feed(table({**keys, **of_every_type}).slice(0, 0))


def test_prism_refuses_what_the_definitions_do_not_allow(server: CustomerIOServer, proxies: dict[str, str]) -> None:
    item = {"type": "person", "identifiers": {"id": "1"}, "action": "identifi", "attributes": {}}
    login = b64encode(f"{server.workspace.site_id}:{server.workspace.api_key}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
    body = json.dumps({"batch": [item]}).encode()
    request = urllib.request.Request(f"{proxies['track_url']}/api/v2/batch", body, headers)

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    caught.value.close()

    assert caught.value.code == 422
