"""How a run is asked to stop, and what is cut off."""

from __future__ import annotations

import threading

import pytest

from syncer.sync.progress import CancelToken, Phase, Progress, StoppedError


def join_cut_off() -> None:
    for thread in threading.enumerate():
        if thread.name == "cut off":
            thread.join(10)


def test_a_query_that_goes_on_is_cut_off() -> None:
    token, cut_off = CancelToken(), threading.Event()

    with token.interruptible(cut_off.set):
        token.cancel("stopped by ann")
        assert not cut_off.is_set()
        assert cut_off.wait(10)

    with pytest.raises(StoppedError, match="stopped by ann"):
        token.check()


@pytest.mark.parametrize("phase", [Phase.JOURNAL, Phase.SEND, Phase.SETTLE])
def test_a_run_that_may_have_sent_is_not_cut_off(phase: Phase) -> None:
    progress, cut_off = Progress(), threading.Event()
    with progress.token.interruptible(cut_off.set), progress.during(phase):
        progress.token.cancel("stopped by ann")
        progress.reached(1)
        join_cut_off()

    assert progress.token.is_cancelled
    assert not cut_off.is_set()


@pytest.mark.parametrize("phase", [Phase.QUERY, Phase.COMPARE, Phase.JOURNAL])
def test_a_run_that_has_sent_nothing_stops_at_its_next_step(phase: Phase) -> None:
    progress = Progress()
    progress.token.cancel("stopped by ann")

    with pytest.raises(StoppedError), progress.during(phase):
        raise AssertionError


def test_the_first_reason_counts() -> None:
    token = CancelToken(lambda: "the service is stopping" if stopping.is_set() else "")
    stopping = threading.Event()
    assert not token.is_cancelled

    stopping.set()
    assert token.is_cancelled
    token.cancel("stopped by ann")

    assert token.reason == "the service is stopping"
