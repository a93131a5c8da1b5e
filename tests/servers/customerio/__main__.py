"""Runs a workspace until its input ends: `python -m tests.servers.customerio`; prints where it is as JSON.

It does not check requests against the vendor's definitions. Each line of its input is `people` or `events`, and a
folder: into that it writes all of them (`held.jsonl`), and the bodies of the batches since the last time
(`bodies.jsonl`), a line each; then it prints what else there is to tell of these batches.
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
            what, folder = line.strip().split(" ", 1)
            print(json.dumps(_told(server, what, Path(folder))), flush=True)


def _told(server: CustomerIOServer, what: str, folder: Path) -> dict[str, object]:
    workspace = server.workspace
    assert workspace.bodies is not None
    people = (person.attributes for person in workspace.people)
    with (folder / "held.jsonl").open("wb") as lines:
        held = people if what == "people" else workspace.events.held.values()
        lines.writelines(orjson.dumps(one) + b"\n" for one in held)
    (folder / "bodies.jsonl").write_bytes(b"\n".join(workspace.bodies))
    told: dict[str, object] = {"arrivals": list(workspace.arrivals), "breaches": len(workspace.breaches)}
    workspace.arrivals.clear()
    workspace.bodies.clear()
    return told


if __name__ == "__main__":
    _serve()
