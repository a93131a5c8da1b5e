"""A stand-in for Customer.io on 127.0.0.1: Track, App and Pipelines API of one workspace, over HTTP.

It keeps people, objects, relationships and collections, checks every request against the vendor's published definitions
where they lie beside this repository, enforces the limits, and misbehaves when it is told to. What the definitions
leave open is imitated as it is most careful to expect: see `Workspace`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import uvicorn

from connectors.customerio.options import CustomerIOOptions
from tests.servers.customerio.api import application
from tests.servers.customerio.workspace import Workspace

_numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerIOServer:
    """A running workspace."""

    port: int
    workspace: Workspace

    @property
    def address(self) -> str:
        """Of all three APIs."""
        return f"http://127.0.0.1:{self.port}"

    def options(self, **changes: Any) -> CustomerIOOptions:
        """What a store needs beside the URL `customerio://us`."""
        given: dict[str, Any] = {
            "site_id": self.workspace.site_id,
            "api_key": self.workspace.api_key,
            "app_api_key": self.workspace.app_api_key,
            "cdp_api_key": self.workspace.cdp_api_key,
            "track_url": self.address,
            "app_url": self.address,
            "cdp_url": self.address,
            "requests_per_second": 1_000,
            "object_types": {"account": "1", "course": "2"},
        }
        return CustomerIOOptions(**(given | changes))

    def environment(self, name: str = "DEFAULT") -> dict[str, str]:
        """The settings of a store of this workspace."""
        settings = {
            "URL": "customerio://us",
            "SITE_ID": self.workspace.site_id,
            "API_KEY": self.workspace.api_key,
            "APP_API_KEY": self.workspace.app_api_key,
            "TRACK_URL": self.address,
            "APP_URL": self.address,
            "OBJECT_TYPES": '{"account": "1", "course": "2"}',
        }
        return {f"SYNCER_STORES__{name}__{key}": value for key, value in settings.items()}


@contextmanager
def customerio_server(**settings: Any) -> Iterator[CustomerIOServer]:
    """A new workspace on a free port, in a thread of its own; *settings* as Workspace has them."""
    workspace = Workspace(**({"site_id": f"site-{next(_numbers)}"} | settings))
    app = application(workspace)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    # Whoever comes before the server runs is to wait for it.
    listening.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield CustomerIOServer(port=listening.getsockname()[1], workspace=workspace)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)
        listening.close()
