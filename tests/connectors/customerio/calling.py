"""A process that calls a workspace as often as it may: `python -m tests.connectors.customerio.calling`.

It calls from eight threads, by the rate that a run log gives, from the first line of its input to the second, and
prints how many calls it made, or why it could not go on.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from connectors.customerio.connection import Api
from connectors.support.connection import ConnectionName
from syncer.model.errors import StoreError
from syncer.state.database import StateDatabase
from syncer.state.rates import Rates

LANES = 8


def call(api: Api, ended: threading.Event) -> int:
    """Call until the end; how often."""
    calls = 0
    while not ended.is_set():
        api.call("GET", "/")
        calls += 1
    return calls


def _run(url: str, address: str, per_second: str) -> None:
    named, ended = ConnectionName("store", "crm"), threading.Event()
    database = StateDatabase(url)
    with closing(database), ThreadPoolExecutor(LANES) as lanes:
        login = ("site", "key")
        with closing(Api(named, address, login=login, key_setting="KEY", per_second=int(per_second))) as api:
            api.share_rate(Rates(database))
            print("ready", flush=True)
            sys.stdin.readline()
            calling = [lanes.submit(call, api, ended) for _ in range(LANES)]
            sys.stdin.readline()
            ended.set()
            try:
                print(sum(each.result() for each in calling), flush=True)
            except StoreError as exc:
                print(exc.message, flush=True)


if __name__ == "__main__":
    _run(*sys.argv[1:])
