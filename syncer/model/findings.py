"""What a run finds out that concerns more than its sync, and what holds it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

#: What a finding about clocks is about.
THE_CLOCK = "the clock"


class Hold(enum.StrEnum):
    """What can hold a run before it sends anything, until somebody lets it through."""

    LIMITS = "limits"
    CLOCK = "clock"


class FindingKind(enum.StrEnum):
    """What a run can find that concerns other syncs too."""

    #: A warehouse or store cannot be reached, or refuses everything.
    UNREACHABLE = "unreachable"
    #: The store is not as the last run left it.
    RESTORED = "restored"
    #: Another state folder feeds the store.
    SHARED = "shared"
    #: This machine's clock, or another one, is wrong; nothing was sent.
    CLOCK = "clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a run found out about something that other syncs use too."""

    kind: FindingKind
    #: Such as `warehouse crm`, or THE_CLOCK.
    about: str
    #: Sentences for people, as far as the run's error and notes do not say it.
    detail: str = ""
