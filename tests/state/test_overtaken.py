"""Runs that another process took for dead, or overtook with a run of the same sync, and that record their end after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncer.model.types import Counts, EndedBy, Order, Rejection, RunStatus, Trigger
from syncer.state.database import StateDatabase
from syncer.state.rejections import Rejections
from syncer.state.run_ends import OVERTAKEN, presence_of
from syncer.state.runs import RunLog
from tests.servers.postgresql import PostgresServer

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BY_HAND = Order(trigger=Trigger.MANUAL)


@pytest.fixture
def log(database: StateDatabase) -> RunLog:
    return RunLog(database)


def refused(key: str) -> list[Rejection]:
    return [Rejection(sync="people", key=key, reason="bad", attempts=1, first_seen=NOON, last_seen=NOON)]


def keys(log: RunLog) -> list[str]:
    return [rejection.key for rejection in Rejections(log.database).of("people", now=NOON)[0]]


def how_it_stands(log: RunLog) -> object:
    return log.latest(["people"]), log.last_status(), log.last_ended_well(["people"])


@pytest.mark.parametrize("lives", [False, True])
@pytest.mark.parametrize("newer", [RunStatus.SUCCESS, RunStatus.WARNING, RunStatus.FAILED, RunStatus.RUNNING])
def test_an_overtaken_run_changes_nothing_but_its_own_row(
    log: RunLog, monkeypatch: pytest.MonkeyPatch, lives: bool, newer: RunStatus
) -> None:
    older = log.start("people", BY_HAND, "abc", NOON)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(RunLog, "lives", lambda *_, **__: lives)
        log.interrupt_open("people", NOON + MINUTE, beside=BY_HAND)
    newest = log.start("people", BY_HAND, "abc", NOON + MINUTE)
    log.replace_rejections("people", refused("new"), 1, now=NOON + MINUTE, run_id=newest)
    if newer is not RunStatus.RUNNING:
        log.finish(newest, newer, NOON + 2 * MINUTE)
    before = how_it_stands(log), log.get(newest)
    standing = log.get(older)

    assert log.replace_rejections("people", refused("old"), 1, now=NOON + 3 * MINUTE, run_id=older) == 0
    log.replace_rejections("people", [], 0, now=NOON + 3 * MINUTE, run_id=older)
    log.finish(older, RunStatus.SUCCESS, NOON + 3 * MINUTE, counts=Counts(accepted=7))

    assert standing is not None
    assert standing.status is (RunStatus.RUNNING if lives else RunStatus.INTERRUPTED)
    assert (standing.ended_by is None) is lives, "nothing has ended a run that goes on"
    assert keys(log) == ["new"]
    # While the newer one goes on, the older one is the last that ended.
    assert newer is RunStatus.RUNNING or (how_it_stands(log), log.get(newest)) == before
    ended = log.get(older)
    assert ended is not None
    assert (ended.status, ended.error, ended.counts.accepted) == (RunStatus.INTERRUPTED, OVERTAKEN, 7)
    assert (ended.ended_by, ended.finished_at) == (EndedBy.TAKEOVER, NOON + 3 * MINUTE)
    # The newer one is not overtaken by it.
    log.replace_rejections("people", refused("newest"), 1, now=NOON + 4 * MINUTE, run_id=newest)
    assert keys(log) == ["newest"]


def test_an_overtaken_run_says_itself_why_it_ended(log: RunLog) -> None:
    run_id = log.start("people", BY_HAND, "abc", NOON)
    log.interrupt(run_id, NOON + MINUTE)
    log.finish(run_id, RunStatus.FAILED, NOON + MINUTE, error="the store is away", ended_by=EndedBy.PERSON)

    ended = log.get(run_id)
    assert ended is not None
    assert (ended.status, ended.error) == (RunStatus.INTERRUPTED, "the store is away")
    assert ended.ended_by is EndedBy.PERSON


def test_a_run_that_failed_before_it_had_its_sync_overtakes_nobody(log: RunLog) -> None:
    goes_on = log.start("people", BY_HAND, "abc", NOON)
    log.finish(log.start("people", BY_HAND, "abc", NOON + MINUTE), RunStatus.FAILED, NOON + MINUTE, error="no store")

    log.replace_rejections("people", refused("old"), 1, now=NOON + 2 * MINUTE, run_id=goes_on)
    log.finish(goes_on, RunStatus.WARNING, NOON + 2 * MINUTE)
    assert keys(log) == ["old"]
    ended = log.get(goes_on)
    assert ended is not None
    assert ended.status is RunStatus.WARNING


def test_a_run_that_has_an_end_keeps_it(log: RunLog) -> None:
    """As after a transaction that was durable, though its answer was lost."""
    run_id = log.start("people", BY_HAND, "abc", NOON)
    log.finish(run_id, RunStatus.SUCCESS, NOON + MINUTE)
    log.finish(run_id, RunStatus.FAILED, NOON + 2 * MINUTE, error="the run log is away")

    ended = log.get(run_id)
    assert ended is not None
    assert (ended.status, ended.error, ended.finished_at) == (RunStatus.SUCCESS, None, NOON + MINUTE)


def test_who_lives_is_told_by_what_it_holds(postgres: PostgresServer) -> None:
    with postgres.new_database() as url:
        mine, theirs = StateDatabase(url), StateDatabase(url)
        log, of_service = RunLog(mine), Order(trigger=Trigger.SCHEDULE, term=2)

        assert not log.lives("people", None, beside=of_service)
        with mine.holding("people"):
            assert not log.lives("people", None, beside=BY_HAND)
            with theirs.holding("people"), theirs.holding(presence_of(1)):
                assert log.lives("people", None, beside=BY_HAND)
                assert log.lives("people", 1, beside=of_service)
                assert not log.lives("people", 2, beside=of_service)
                assert not log.lives("others", None, beside=of_service)
            assert not log.lives("people", None, beside=BY_HAND)
        mine.close()
        theirs.close()
