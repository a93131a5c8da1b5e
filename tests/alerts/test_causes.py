"""One notice for one cause: what many syncs share, and syncs that fail and succeed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncer.alerts.conditions import ALIKE, alternates
from syncer.model.types import Finding, FindingKind, Order, RunStatus, Trigger
from syncer.service.service import Service
from tests.alerts.test_alerts import alerting, broken, kinds, run, url
from tests.cli.conftest import Folder
from tests.servers.receivers import Receiver, http_receiver
from tests.service.conftest import Bench
from tests.shared.conftest import KEY_ID, SECRET, Bucket, bucket, s3_endpoint

__all__ = ["bucket", "s3_endpoint"]

MANUAL = "entity: person\nperson: {id: id}\nschedule: manual"
NAMES = [f"sync{number:02}" for number in range(40)]
AWAY = [Finding(kind=FindingKind.UNREACHABLE, about="warehouse default")]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(path=tmp_path)
    made.people({str(number): "free" for number in range(100)})
    made.define("customers", header=MANUAL)
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    """The folder, with its run log in either database."""
    if request.param == "postgresql":
        bench.environment["SYNCER_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return bench


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as server:
        yield server


def many(bench: Bench) -> None:
    (bench.path / "sync_definitions/customers.sql").unlink()
    for name in NAMES:
        bench.define(name, header=MANUAL)


def ended(
    service: Service,
    name: str,
    status: RunStatus = RunStatus.SUCCESS,
    findings: Sequence[Finding] = (),
    error: str = "",
) -> None:
    """Record a run, as if it had been made now."""
    at = service.now()
    run_id = service.run_log.start(name, Order(trigger=Trigger.SCHEDULE), "", at)
    service.run_log.finish(run_id, status, service.now(), error=error or None, findings=findings)


def away(service: Service, name: str) -> None:
    error = f"sync_definitions/{name}.sql:5: warehouse `default`: cannot connect: refused"
    ended(service, name, RunStatus.FAILED, AWAY, error)


def test_a_warehouse_that_goes_away_is_one_notice_and_one_recovery(either: Bench, receiver: Receiver) -> None:
    bench = either
    many(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        for name in NAMES:
            ended(service, name)
        alerts.check()
        for name in NAMES:
            away(service, name)
            alerts.check([name])
        alerts.check()
    (body,) = receiver.bodies
    assert body["title"] == "Syncer: warehouse `default` cannot be used"
    assert body["type"] == "failure"
    lines = body["message"].splitlines()
    assert lines[0] == "warehouse `default`: cannot connect: refused"
    assert lines[1] == "Failed for it so far: sync00."
    assert lines[2] == f"Also used by: {', '.join(NAMES[1:21])} and 19 more."

    with alerting(bench, url(receiver)) as (service, alerts):
        assert kinds(service) == {("warehouse default", "unreachable")}
        for name in NAMES:
            ended(service, name)
            alerts.check([name])
        alerts.check()
        assert kinds(service) == set()
    assert receiver.titles[1:] == ["Syncer: warehouse `default` works again"]


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, bench: Bench, postgres_url: str) -> tuple[str, Callable[[bool], object]]:
    """The place of snapshots, and what lets it be used, or not."""
    bench.environment["SYNCER_DATABASE_URL"] = postgres_url
    if request.param == "file":
        folder, away = bench.path / "place", bench.path / "away"

        def let(be_used: bool) -> None:
            if be_used:
                folder.unlink()
                away.rename(folder)
            else:
                folder.rename(away)
                folder.write_text("no folder")

        return f"file://{folder}", let
    bucket: Bucket = request.getfixturevalue("bucket")
    bench.environment |= {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    return bucket.url, lambda be_used: bucket.ask_for_rights(asked=not be_used)


def test_a_place_of_snapshots_that_goes_away_is_one_notice(
    bench: Bench, receiver: Receiver, place: tuple[str, Callable[[bool], object]]
) -> None:
    url_of_place, let = place
    bench.environment["SYNCER_SNAPSHOTS_URL"] = url_of_place
    bench.define("orders", header=MANUAL)
    with alerting(bench, url(receiver)) as (service, alerts):
        for name in ("customers", "orders"):
            assert run(service, name).status is RunStatus.SUCCESS
    bench.environment["SYNCER_SNAPSHOTS_URL"] = "database"
    bench.define("elsewhere", header=MANUAL)
    with alerting(bench, url(receiver)) as (service, alerts):
        let(False)
        bench.people({"1": "pro"})
        for name in ("customers", "orders"):
            failed = run(service, name)
            assert failed.findings == (Finding(kind=FindingKind.UNREACHABLE, about=f"snapshots {url_of_place}"),)
        assert run(service, "elsewhere").status is RunStatus.SUCCESS
        alerts.check()
        assert kinds(service) == {(f"snapshots {url_of_place}", "unreachable")}
        let(True)
        run(service, "orders")
        alerts.check()
        assert kinds(service) == set()
    subject = f"Syncer: the place of snapshots `{url_of_place}`"
    assert receiver.titles == [f"{subject} cannot be used", f"{subject} works again"]
    first, *lines = receiver.bodies[0]["message"].splitlines()
    assert first.startswith("SYNCER_SNAPSHOTS_URL: ")
    assert "Failed for it so far: customers, orders." in lines
    assert not any("elsewhere" in line for line in lines)
    assert SECRET not in str(receiver.bodies)


def test_the_list_of_a_notice_is_bounded(bench: Bench, receiver: Receiver) -> None:
    many(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        for name in NAMES:
            away(service, name)
        alerts.check()
    assert f"{', '.join(NAMES[:20])} and 20 more." in receiver.bodies[0]["message"]


def test_runs_record_that_their_warehouse_or_store_is_away(bench: Bench, receiver: Receiver) -> None:
    bench.environment["SYNCER_STORES__DEFAULT__URL"] = f"sqlite:///{bench.path}/store/profiles.db"
    bench.define("orders", header=MANUAL)
    broken(bench, "broken")
    data = bench.path / "sync_definitions/sample_data"
    with alerting(bench, url(receiver)) as (service, alerts):
        for name in ("customers", "orders", "broken"):
            run(service, name)
        alerts.check()
        assert receiver.titles == ["Syncer: broken failed"]
        data.rename(bench.path / "elsewhere")
        for name in ("customers", "orders"):
            assert run(service, name).findings == tuple(AWAY)
        alerts.check()
        assert receiver.titles[1:] == ["Syncer: warehouse `default` cannot be used"]
        (bench.path / "elsewhere").rename(data)
        run(service, "orders")
        alerts.check()
        assert receiver.titles[2:] == ["Syncer: warehouse `default` works again"]

        (bench.path / "store").rename(bench.path / "elsewhere")
        (bench.path / "store").write_text("no folder")
        found = run(service, "customers")
        assert [finding.about for finding in found.findings] == ["store default"]
        run(service, "orders")
        alerts.check()
        assert receiver.titles[3:] == ["Syncer: store `default` cannot be used"]


def test_a_sync_that_fails_for_its_own_reason_has_its_own_notice_meanwhile(bench: Bench, receiver: Receiver) -> None:
    many(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        away(service, "sync00")
        alerts.check()
        ended(service, "sync01", RunStatus.HELD, error="too many rows")
        alerts.check()
        assert receiver.titles[1:] == ["Syncer: warehouse `default` works again", "Syncer: sync01 is held"]


def test_a_sync_that_fails_while_others_can_use_the_connection_fails_alone(bench: Bench, receiver: Receiver) -> None:
    many(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        for _ in range(5):
            away(service, "sync00")
            alerts.check()
            ended(service, "sync01")
            alerts.check()
        ended(service, "sync00")
        alerts.check()
    assert receiver.titles == [
        "Syncer: warehouse `default` cannot be used",
        "Syncer: warehouse `default` works again",
        "Syncer: sync00 failed",
        "Syncer: sync00 has recovered",
    ]


def test_syncs_are_not_late_for_a_warehouse_that_is_away(bench: Bench, receiver: Receiver) -> None:
    many(bench)
    for name in NAMES:
        bench.define(name, header="entity: person\nperson: {id: id}\nschedule: every 1 hour")
    now = datetime.now(UTC)
    # Five minutes after a tick.
    first = bench.ahead = now.replace(minute=5, second=0) + timedelta(hours=1) - now
    with alerting(bench, url(receiver), started=False) as (service, alerts):
        service.catalog.open()
        service.leadership.acquire()
        for name in NAMES:
            ended(service, name)
        alerts.check()
        for hour in (1, 2, 3):
            bench.ahead = first + timedelta(hours=hour)
            for name in NAMES:
                away(service, name)
            bench.ahead += timedelta(minutes=20)
            alerts.check()
        assert receiver.titles == ["Syncer: warehouse `default` cannot be used"]
        ended(service, "sync00")
        alerts.check()
        assert receiver.titles[1:] == ["Syncer: warehouse `default` works again"]
        # And then they do not run at all.
        bench.ahead += timedelta(hours=2)
        alerts.check()
        assert receiver.titles[2:] == ["Syncer: 40 syncs need attention"]


def test_syncs_are_not_late_for_one_that_they_depend_on_and_that_fails(bench: Bench, receiver: Receiver) -> None:
    header = "entity: person\nperson: {id: id}\nschedule: every 1 hour\n"
    bench.define("customers", header=header)
    bench.define("second", header=f"{header}depends_on: [customers]")
    bench.define("third", header=f"{header}depends_on: [second]")
    now = datetime.now(UTC)
    first = bench.ahead = now.replace(minute=5, second=0) + timedelta(hours=1) - now
    with alerting(bench, url(receiver), started=False) as (service, alerts):
        service.catalog.open()
        service.leadership.acquire()
        for name in ("customers", "second", "third"):
            ended(service, name)
        alerts.check()
        for hour in (1, 2):
            bench.ahead = first + timedelta(hours=hour)
            ended(service, "customers", RunStatus.FAILED, error="no")
            # The others are skipped.
            bench.ahead += timedelta(minutes=20)
            alerts.check(["third"])
            alerts.check()
            assert not {about for about, _ in kinds(service)} & {"second", "third"}
        bench.ahead += timedelta(hours=1)
        alerts.check()
        assert kinds(service) >= {("second", "late"), ("third", "late")}


def test_two_real_state_folders_that_feed_one_store_name_each_other(tmp_path: Path, receiver: Receiver) -> None:
    benches = {name: Bench(path=tmp_path / name) for name in ("a", "b")}
    for bench in benches.values():
        bench.environment["SYNCER_STORES__DEFAULT__URL"] = f"sqlite:///{tmp_path}/people.db"
        bench.people({"1": "free"})
        bench.define("customers", header=MANUAL)
    with alerting(benches["a"], url(receiver)) as (one, alerts), alerting(benches["b"], url(receiver)) as (other, more):
        run(one, "customers")
        newest = run(other, "customers")
        for turn in range(3):
            benches["a"].people({"1": f"a{turn}"})
            run(one, "customers")
            alerts.check()
            benches["b"].people({"1": f"b{turn}"})
            newest = newest if turn else run(other, "customers")
            more.check()
        assert receiver.titles == ["Syncer: store `default` is fed from two state folders"] * 2
        first, second = (body["message"] for body in receiver.bodies)
    for message, mine, theirs in ((first, one, other), (second, other, one)):
        assert f"This one: {mine.settings.state_dir.resolve()} on " in message
        assert f", whose run log is {mine.run_log.log_id}." in message
        assert f"its run log is {theirs.run_log.log_id}, its newest run " in message


def test_a_flapping_sync_is_one_notice_and_one_when_it_is_steady(either: Bench, receiver: Receiver) -> None:
    bench = either
    titles = [
        "Syncer: customers failed",
        "Syncer: customers has recovered",
        "Syncer: customers is flapping",
    ]
    for number in range(16):
        with alerting(bench, url(receiver)) as (service, alerts):
            failed = number % 2
            ended(service, "customers", RunStatus.FAILED if failed else RunStatus.SUCCESS, error="no" if failed else "")
            alerts.check()
            alerts.check()
    assert receiver.titles == titles
    assert receiver.bodies[2]["message"].splitlines()[0] == (
        "2 of its last 4 runs went wrong, and the others between them did not. The next notice comes once 4 runs in a "
        "row have ended alike."
    )
    with alerting(bench, url(receiver)) as (service, alerts):
        assert kinds(service) == {("customers", "flapping")}
        for _ in range(ALIKE):
            assert receiver.titles == titles
            ended(service, "customers")
            alerts.check()
        assert receiver.titles[3:] == ["Syncer: customers is steady again"]
        ended(service, "customers", RunStatus.FAILED)
        alerts.check()
        assert receiver.titles[4:] == ["Syncer: customers failed"]


def test_a_flapping_sync_that_fails_for_good_is_a_notice(bench: Bench, receiver: Receiver) -> None:
    with alerting(bench, url(receiver)) as (service, alerts):
        for number in range(8):
            ended(service, "customers", RunStatus.FAILED if number % 2 else RunStatus.SUCCESS)
            alerts.check()
        for _ in range(ALIKE):
            ended(service, "customers", RunStatus.FAILED, error="gone")
            alerts.check()
        assert receiver.titles[3:] == ["Syncer: customers failed"]
        assert kinds(service) == {("customers", "failed")}


def test_a_connection_that_comes_and_goes_is_flapping_and_its_syncs_are_not(bench: Bench, receiver: Receiver) -> None:
    many(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        for number in range(8):
            for name in NAMES[:5]:
                away(service, name) if number % 2 else ended(service, name)
            alerts.check()
        assert receiver.titles == [
            "Syncer: warehouse `default` cannot be used",
            "Syncer: warehouse `default` works again",
            "Syncer: warehouse `default` is flapping",
        ]
        for _ in range(ALIKE):
            for name in NAMES[:5]:
                ended(service, name)
            alerts.check()
        assert receiver.titles[3:] == ["Syncer: warehouse `default` is steady again"]


@pytest.mark.parametrize(
    ("runs", "flaps", "still_flaps"),
    [
        ("", False, True),
        ("-", False, True),
        ("-+-", False, True),
        ("-+-+", True, True),
        ("----+-+", False, False),
        ("---+-+", True, True),
        ("+++-+-", True, True),
        ("++++-+", False, False),
        ("+---+-", True, True),
        ("+----+", False, True),
    ],
)
def test_three_changes_in_six_runs_are_flapping_until_four_are_alike(runs: str, flaps: bool, still_flaps: bool) -> None:
    are_bad = [sign == "-" for sign in runs]

    assert alternates(are_bad, already=False) is flaps
    assert alternates(are_bad, already=True) is still_flaps


def test_two_state_folders_are_one_notice_until_no_run_has_seen_it_for_long(either: Bench, receiver: Receiver) -> None:
    bench = either
    shared = [Finding(kind=FindingKind.SHARED, about="store default", detail="other-log run-7")]
    many(bench)
    with alerting(bench, url(receiver)) as (service, alerts):
        for day in range(3):
            for name in NAMES:
                ended(service, name, findings=shared if day < 2 else [])
            alerts.check()
            bench.ahead += timedelta(days=1)
        (body,) = receiver.bodies
        assert body["title"] == "Syncer: store `default` is fed from two state folders"
        for part in (str(bench.path / ".syncer"), service.run_log.log_id, "other-log", "run-7", "sync00, sync01"):
            assert part in body["message"]
        bench.ahead += timedelta(days=1)
        alerts.check()
        assert receiver.titles[1:] == ["Syncer: store `default` has recovered"]


def test_a_store_that_was_put_back_is_one_notice(bench: Bench, receiver: Receiver) -> None:
    store = bench.path / ".syncer/profiles.db"
    bench.define("orders", header=MANUAL)
    with alerting(bench, url(receiver)) as (service, alerts):
        for name in ("customers", "orders"):
            run(service, name)
        alerts.check()
    copy = store.read_bytes()
    with alerting(bench, url(receiver)) as (service, alerts):
        bench.people({"1": "pro"} | {str(number): "basic" for number in range(2, 100)})
        for name in ("customers", "orders"):
            run(service, name)
        for suffix in ("", "-wal", "-shm"):
            store.with_name(f"{store.name}{suffix}").unlink(missing_ok=True)
        store.write_bytes(copy)
        for name in ("customers", "orders", "customers"):
            run(service, name)
            alerts.check([name])
        alerts.check()
        assert receiver.titles == ["Syncer: store `default` was restored"]
        bench.ahead = timedelta(days=3)
        alerts.check()
        assert kinds(service) == set()
    assert len(receiver.titles) == 1


def test_a_command_shows_what_alerts_are_about(tmp_path: Path, bench: Bench, receiver: Receiver) -> None:
    with alerting(bench, url(receiver)) as (service, alerts):
        away(service, "customers")
        alerts.check()
    shown = Folder(path=tmp_path).syncer("alerts", "--json").objects
    assert [(alert["sync"], alert["about"], alert["kind"]) for alert in shown] == [
        (None, "warehouse default", "unreachable")
    ]
    assert "warehouse default" in Folder(path=tmp_path).syncer("alerts").out
