"""The starter project with a history, and with one sync of each kind that needs a look."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from syncer.model.types import Counts, Order, RunStatus, Trigger
from syncer.starter import write_starter
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from tests.web.conftest import Served, Site, wait_until

#: What would be carried out if it were not escaped; sets a global that no page has.
SCRIPT = "<script>window.pwned = 1</script><img src=x onerror=window.pwned=1>"

#: As long as a name may be.
LONG_NAME = "customers_of_the_northern_region_with_an_uncommonly_long_name_x"

#: A customer whose trial is refused.
REFUSED = "1042"

_HISTORY = 45


def make_shop(folder: Path) -> Site:
    """Write the project."""
    write_starter(folder)
    site = Site(path=folder)
    _make_trials(site)
    site.people({str(number): "pro" for number in range(1, 101)}, name="scores")
    site.define(
        "scores",
        "SELECT id, plan AS score_plan FROM scores",
        "description: Scores of the model, deleted where the model drops them\nowner: data\ntags: [ml]\n"
        "entity: person\nperson: {id: id}\non_removed: delete\nattributes: [score_plan]",
    )
    site.define(
        "revenue",
        "SELECT customer_id, no_such_column FROM orders",
        "description: Fails, as a column is missing\ntags: [finance]\nentity: person\nperson: {id: customer_id}",
    )
    site.define(
        LONG_NAME,
        "SELECT customer_id, country AS a_column_with_quite_a_long_name_that_wants_to_break_the_layout FROM customers",
        "description: A description that goes on and on, to see what becomes of a card that has to show it on a phone "
        "as well as on a wide screen, with averylongwordthatnobodywouldeverwritebutthatmachinesdowriteallthetime\n"
        "owner: somebody\ntags: [shop, a-tag-that-is-longer-than-most, b2b, growth, ml, finance]\n"
        "entity: person\nperson: {id: customer_id}",
    )
    _make_hostile(site)
    (folder / "sync_definitions/mistaken.sql").write_text(
        "/* sync\nentity: persn\nperson: {id: id}\nshedule: every day\n*/\nSELECT 1 AS id\n"
    )
    _commit(folder)
    return site


def _commit(folder: Path) -> None:
    git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", f"Add the shop {SCRIPT}"]):
        subprocess.run([*git, *words], cwd=folder, check=True, capture_output=True)


@contextmanager
def open_shop(folder: Path) -> Iterator[tuple[Site, Served]]:
    """The service over it, once what was due has run, one sync is held, one is paused and one file was broken."""
    site = make_shop(folder)
    write_history(folder, site.now())
    with site.served() as served:
        wait_for_all(served)
        for name in ("trials", "revenue", "hostile", LONG_NAME):
            run_now(served, name)
        hold(site, served)
        served.service.pause("coupons")
        _break_file(site, served)
        yield site, served


def run_now(served: Served, name: str) -> None:
    """Run a sync to its end."""
    served.service.run_now(name, actor="ann")
    wait_for_all(served)


def hold(site: Site, served: Served) -> None:
    """Let a limit hold `scores`."""
    site.people({str(number): "pro" for number in range(1, 101)}, name="scores")
    run_now(served, "scores")
    site.people({str(number): "pro" if number % 7 else "free" for number in range(1, 61)}, name="scores")
    run_now(served, "scores")


def wait_for_all(served: Served) -> None:
    """Wait until what was due has run, and what was ordered."""
    wait_until(lambda: not served.service.pool.active_runs() and not _first_is_missing(served))


def _first_is_missing(served: Served) -> bool:
    """Whether a sync of the schedule has not run yet in this service, which is due at once."""
    names = ["customers", "accounts", "memberships"]
    ran = served.service.run_log.last_ended_well(names)
    return any(name not in ran or ran[name] < served.service.led_at for name in names)


def _make_trials(site: Site) -> None:
    """Relationships of which every third is to an account that there is not."""
    lines = ["customer_id,account_id,stage"]
    for number in range(1000, 1120):
        account = "acc_404" if number % 3 == 1 else f"acc_{number % 100 + 1:03}"
        lines.append(f"{number},{account},{'won' if number % 5 else 'lost'}")
    (site.path / "sync_definitions/sample_data/trials.csv").write_text("\n".join(lines) + "\n")
    site.define(
        "trials",
        "SELECT customer_id, account_id, stage FROM trials",
        "description: Who tries which account\nowner: growth\ntags: [b2b]\n"
        "entity: relationship\nperson: {id: customer_id}\nobject: {type: account, id: account_id}",
    )


def _make_hostile(site: Site) -> None:
    """A sync in which everything that people write is a script."""
    column = SCRIPT.replace('"', '""')
    site.define(
        "hostile",
        f"""SELECT id, value AS "{column}", '{SCRIPT}' AS note
FROM (VALUES ('{SCRIPT}', '{SCRIPT}'), ('{SCRIPT}', 'other'), ('ok', '{SCRIPT}')) t (id, value)""",
        f'description: "{SCRIPT}"\nowner: "{SCRIPT}"\ntags: ["{SCRIPT}"]\nentity: object\n'
        f'object: {{type: "{SCRIPT}", id: id}}',
    )


def _break_file(site: Site, served: Served) -> None:
    path = site.path / "sync_definitions/accounts.sql"
    path.write_text(path.read_text().replace("schedule: every 1 hour", "schedule: every 1 huor"))
    wait_until(lambda: "accounts" in served.service.catalog.current.outdated)


def write_history(folder: Path, now: datetime) -> None:
    """Runs of the last days, as they could have been; before the first service runs, as the log keeps their order."""
    (folder / ".syncer").mkdir(mode=0o700, exist_ok=True)
    with closing(StateDatabase(f"sqlite:///{folder}/.syncer/runs.db")) as database:
        for place in range(_HISTORY, 0, -1):
            at = now - timedelta(hours=place, minutes=7)
            for sync, size in (("customers", 40), ("memberships", 12), ("accounts", 3)):
                _write_run(RunLog(database), sync, at, place, size)


def _write_run(run_log: RunLog, sync: str, at: datetime, place: int, size: int) -> None:
    run_id = run_log.start(sync, Order(trigger=Trigger.SCHEDULE, due_at=at), "0" * 64, at)
    status = RunStatus.SUCCESS
    if sync != "accounts" and place % 13 == 0:
        status = RunStatus.FAILED
    elif place % 17 == 0:
        status = RunStatus.INTERRUPTED
    elif sync == "memberships" and place % 5 == 0:
        status = RunStatus.WARNING
    changed = 0 if status is RunStatus.FAILED else size * (1 + place * 7 % 11) // 4
    counts = Counts(
        queried=0 if status is RunStatus.FAILED else 2000 + place,
        added=changed // 3,
        changed=changed,
        removed=changed // 9,
        unchanged=2000,
        accepted=changed,
        rejected=size // 3 if status is RunStatus.WARNING else 0,
    )
    seconds = 0.8 + place * 5 % 7 / 3
    run_log.finish(
        run_id,
        status,
        at + timedelta(seconds=seconds),
        counts=counts,
        phases={"query": seconds / 2, "compare": seconds / 5, "send": seconds * 0.3},
        error="warehouse `default` cut the query off" if status is RunStatus.FAILED else None,
        hint="Is it being restarted?" if status is RunStatus.FAILED else "",
    )
