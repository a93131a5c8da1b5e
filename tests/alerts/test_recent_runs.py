from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from syncer.alerts.monitor import AlertMonitor
from tests.web.many import make_many, statements


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_check_of_all_alerts_takes_no_more_statements_for_more_syncs(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    counted: dict[int, list[int]] = {}
    server = request.getfixturevalue("postgres") if kind == "postgresql" else None
    for syncs in (1, 30):
        with server.new_database() if server else nullcontext("") as url:
            site = make_many(tmp_path / str(syncs), syncs=syncs, runs_of_each=20, database_url=url)
            with site.served({"SYNCER_DATABASE_URL": url} if url else None) as served:
                monitor = AlertMonitor(served.service, [])
                counted[syncs] = []
                for _ in range(2):
                    with statements() as seen:
                        monitor.check()
                    counted[syncs].append(len(seen))
                assert not [statement for statement in seen if "syncer_runs" in statement], "nothing is new"

    assert counted[1] == counted[30]
