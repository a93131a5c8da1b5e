"""A process that calls a workspace as often as it may: `python -m tests.connectors.customerio.calling`.

It calls from eight threads, by the rate that a run log gives, from the first line of its input to the second, and
prints as JSON when each call went, by the monotonic clock.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from connectors.customerio.connection import Api
from connectors.support.connection import ConnectionName
from syncer.state.database import StateDatabase
from syncer.state.rates import Rates

LANES = 8


def call(api: Api, ended: threading.Event) -> None:
    """Call until the end."""
    while not ended.is_set():
        api.call("GET", "/")


def note(api: Api, ended: threading.Event, gone: set[float]) -> None:
    """Add when each call went, until the end: what comes after may still have to wait for a processor."""
    while not ended.wait(0.1):
        gone.update(list(api._limiter._gone))


def _run(url: str, address: str, per_second: str) -> None:
    named, ended = ConnectionName("store", "crm"), threading.Event()
    database = StateDatabase(url)
    with closing(database), ThreadPoolExecutor(LANES + 1) as lanes:
        login = ("site", "key")
        with closing(Api(named, address, login=login, key_setting="KEY", per_second=int(per_second))) as api:
            api.share_rate(Rates(database))
            print("ready", flush=True)
            sys.stdin.readline()
            gone = set[float]()
            calling = [lanes.submit(call, api, ended) for _ in range(LANES)]
            calling.append(lanes.submit(note, api, ended, gone))
            sys.stdin.readline()
            ended.set()
            for each in calling:
                each.result()
            print(json.dumps(sorted({*gone, *api._limiter._gone} - {0.0})), flush=True)


if __name__ == "__main__":
    _run(*sys.argv[1:])
