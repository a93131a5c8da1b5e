"""Runs a workspace until its input ends: `python -m tests.servers.customerio`; prints where it is as JSON.

It does not check requests against the vendor's definitions. Each line of its input names a folder, into which it writes
everybody (`people.jsonl`), and the bodies of the batches since the last time (`bodies.jsonl`), a line each; then it
prints what else there is to tell of these batches.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import orjson

from tests.servers.customerio import CustomerIOServer, customerio_server


def _serve() -> None:
    # Going through a million people again and again would take longer than all the rest.
    gc.disable()
    with customerio_server(checked=False, bodies=[]) as server:
        print(json.dumps({"address": server.address, "environment": server.environment()}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_told(server, Path(line.strip()))), flush=True)


def _told(server: CustomerIOServer, folder: Path) -> dict[str, object]:
    workspace = server.workspace
    assert workspace.bodies is not None
    with (folder / "people.jsonl").open("wb") as lines:
        lines.writelines(orjson.dumps(person.attributes) + b"\n" for person in workspace.people)
    (folder / "bodies.jsonl").write_bytes(b"\n".join(workspace.bodies))
    told: dict[str, object] = {"arrivals": list(workspace.arrivals), "breaches": len(workspace.breaches)}
    workspace.arrivals.clear()
    workspace.bodies.clear()
    return told


if __name__ == "__main__":
    _serve()
