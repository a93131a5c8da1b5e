"""How a change of state is told to people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from syncer.alerts.conditions import AlertKind
from syncer.alerts.targets import Notice, Tone

_TITLES = {
    AlertKind.FAILED: "failed",
    AlertKind.HELD: "is held",
    AlertKind.REJECTED: "has many rejected rows",
    AlertKind.LATE: "is late",
    AlertKind.ROWS: "has an unusual number of rows",
}
_BAD = frozenset({AlertKind.FAILED, AlertKind.LATE})

#: Syncs that a notice about several names.
_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the state of one sync differs from what was told of it."""

    sync: str
    #: What began, with sentences for people.
    begun: Mapping[AlertKind, str]
    #: What was told of, and is over; a AlertKind, or a word that another version wrote.
    over: Sequence[str]
    #: Whether nothing is wrong any more, and a run has shown it.
    recovered: bool
    #: Of the run that shows it.
    run_id: str = ""

    @property
    def is_told(self) -> bool:
        """Whether somebody should know; else it is only noted."""
        return bool(self.begun) or self.recovered


def notice(change: Change, *, web_url: str | None, clean: Callable[[str], str]) -> Notice:
    """One sync's change.

    Shapes:
        web_url: the address of the page, for links.
        clean: takes secrets out of a text.
    """
    lines = [*change.begun.values()] or [f"All is well again. Before, it {_joined(change.over)}."]
    if web_url:
        lines.append(_link(change, web_url))
    return Notice(title=f"Syncer: {_headline(change)}", body=clean("\n".join(lines)), tone=_tone([change]))


def bundle(changes: Sequence[Change], *, web_url: str | None) -> Notice:
    """Many syncs' changes at one moment, as where a warehouse is away."""
    lines = [_headline(change) for change in changes[:_NAMED]]
    if len(changes) > _NAMED:
        lines.append(f"and {len(changes) - _NAMED:,} more")
    if web_url:
        lines.append(web_url)
    begun = sum(1 for change in changes if change.begun)
    well = len(changes) - begun
    parts = [f"{begun:,} syncs need a look" if begun else "", f"{well:,} are well again" if well else ""]
    title = f"Syncer: {', '.join(part for part in parts if part)}"
    return Notice(title=title, body="\n".join(lines), tone=_tone(changes))


def _headline(change: Change) -> str:
    return f"{change.sync} {', '.join(_TITLES[kind] for kind in change.begun) or 'has recovered'}"


def _joined(kinds: Sequence[str]) -> str:
    words = {str(kind): title.replace("is ", "was ").replace("has ", "had ") for kind, title in _TITLES.items()}
    return ", ".join(words.get(kind, "was in trouble") for kind in kinds)


def _link(change: Change, web_url: str) -> str:
    page = f"runs/{change.run_id}" if change.run_id else f"syncs/{change.sync}"
    return f"{web_url.rstrip('/')}/{page}"


def _tone(changes: Sequence[Change]) -> Tone:
    begun = {kind for change in changes for kind in change.begun}
    if not begun:
        return Tone.GOOD
    return Tone.BAD if begun & _BAD else Tone.DOUBTFUL
