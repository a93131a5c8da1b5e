"""Runs a workspace until its input ends: `python -m tests.customerio_server`; prints its address as JSON.

Each line of its input is the name of a file to write everybody into, a JSON object a line; then it prints what it has
seen of batches so far, and forgets it.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import orjson

from tests.customerio_server import CustomerIOServer, customerio_server


def _serve() -> None:
    # Going through a million people again and again would take longer than all the rest.
    gc.disable()
    with customerio_server(checked=False) as server:
        print(json.dumps({"address": server.address, "environment": server.environment()}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_told(server, Path(line.strip()))), flush=True)


def _told(server: CustomerIOServer, file: Path) -> dict[str, object]:
    workspace = server.workspace
    with file.open("wb") as lines:
        lines.writelines(orjson.dumps(person.attributes) + b"\n" for person in workspace.people)
    told: dict[str, object] = {
        "arrivals": list(workspace.arrivals),
        "bytes": sum(workspace.batches),
        "breaches": len(workspace.breaches),
    }
    workspace.arrivals.clear()
    workspace.batches.clear()
    return told


if __name__ == "__main__":
    _serve()
