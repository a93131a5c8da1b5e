"""The notices that people get when the state of a sync, or of what many syncs use, changes."""

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
    AlertKind.FLAPPING: "is flapping",
    AlertKind.UNREACHABLE: "cannot be used",
    AlertKind.SHARED: "is fed from two state folders",
    AlertKind.RESTORED: "was restored",
    AlertKind.CLOCK: "is wrong",
    AlertKind.WORKERS: "waits for a worker",
}
_BAD = frozenset(AlertKind) - {AlertKind.HELD, AlertKind.REJECTED, AlertKind.ROWS, AlertKind.RESTORED}

#: What many syncs use, by the first word of what an alert is about, in words.
_CONNECTIONS = {"warehouse": "warehouse", "store": "store", "snapshots": "the place of snapshots"}

#: What an alert is about where no worker lives at all.
ALL_WORK = "all work"
#: The first word where none lives that takes one queue.
_QUEUE = "queue"

#: Syncs that a notice about several names, and characters of the cause of each.
_NAMED, _CAUSE = 20, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the state of one sync, or of what many use, differs from its open alerts."""

    #: The name of a sync, or what many use, such as `warehouse crm`.
    about: str
    #: What is wrong now and has no open alert, with sentences for people.
    opened: Mapping[AlertKind, str]
    #: The open alerts that are over; an AlertKind, or a word that another version wrote.
    closed: Sequence[str]
    #: Whether nothing is wrong any more, and a later run has shown it.
    recovered: bool
    #: Of the run that shows it.
    run_id: str = ""

    @property
    def needs_notice(self) -> bool:
        """Whether people should know; otherwise the alerts only change in the database."""
        return bool(self.opened) or self.recovered

    @property
    def page(self) -> str:
        """Where the web page shows it."""
        return page_of(self.about) or (f"runs/{self.run_id}" if self.run_id else f"syncs/{self.about}")


def render(change: Change, *, web_url: str | None, clean: Callable[[str], str]) -> Notice:
    """One change.

    Shapes:
        web_url: the address of the page, for links.
        clean: takes secrets out of a text.
    """
    lines = [*change.opened.values()] or [f"Everything is fine again. Before, it {_joined(change.closed)}."]
    if web_url:
        lines.append(f"{web_url.rstrip('/')}/{change.page}")
    return Notice(title=f"Syncer: {_headline(change)}", body=clean("\n".join(lines)), tone=_tone([change]))


def render_summary(changes: Sequence[Change], *, web_url: str | None, clean: Callable[[str], str]) -> Notice:
    """Many changes at one moment, each with its cause; the rest as for `render`."""
    lines = [clean(f"{_headline(change)}{_cause(change)}") for change in changes[:_NAMED]]
    lines += [f"and {len(changes) - _NAMED:,} more"] if len(changes) > _NAMED else []
    lines += [web_url] if web_url else []
    failing = sum(bool(change.opened) for change in changes)
    counted = ((failing, "syncs need attention"), (len(changes) - failing, "have recovered"))
    title = ", ".join(f"{count:,} {what}" for count, what in counted if count)
    return Notice(title=f"Syncer: {title}", body="\n".join(lines), tone=_tone(changes))


def headline_of(about: str, kind: str) -> str:
    """An open alert in words; its kind may be a word of another version."""
    titles = {str(known): title for known, title in _TITLES.items()}
    return f"{subject(about)} {titles.get(kind, kind)}"


def page_of(about: str) -> str:
    """Where the web page shows what many syncs use; empty for a sync."""
    if about.partition(" ")[0] in _CONNECTIONS:
        return "connections"
    if about == ALL_WORK or about.startswith(about_queue("")):
        return "#workers"
    return "runs?status=held" if " " in about else ""


def subject(about: str) -> str:
    """What an alert is about, as a sentence names it."""
    kind, _, name = about.partition(" ")
    words = {**_CONNECTIONS, _QUEUE: _QUEUE}
    return f"{words[kind]} `{name}`" if kind in words and name else about


def about_queue(queue: str) -> str:
    """What an alert is about where no worker lives that takes a queue."""
    return f"{_QUEUE} {queue}"


def _cause(change: Change) -> str:
    """The first line of what a notice of this change alone would say."""
    line = next((text for texts in change.opened.values() for text in texts.split("\n") if text), "")
    shown = line if len(line) <= _CAUSE else f"{line[:_CAUSE]}…"
    return f": {shown}" if shown else ""


def _headline(change: Change) -> str:
    if change.opened:
        words = ", ".join(_TITLES[kind] for kind in change.opened)
    elif AlertKind.FLAPPING in change.closed:
        words = "is steady again"
    else:
        words = "works again" if AlertKind.UNREACHABLE in change.closed else "has recovered"
        words = "is right again" if AlertKind.CLOCK in change.closed else words
        words = "waits no longer" if AlertKind.WORKERS in change.closed else words
    return f"{subject(change.about)} {words}"


def _joined(kinds: Sequence[str]) -> str:
    words = {str(kind): title.replace("is ", "was ").replace("has ", "had ") for kind, title in _TITLES.items()}
    words |= {AlertKind.UNREACHABLE: "could not be used", AlertKind.WORKERS: "waited for a worker"}
    return ", ".join(words.get(kind, "had a problem") for kind in kinds)


def _tone(changes: Sequence[Change]) -> Tone:
    opened = {kind for change in changes for kind in change.opened}
    if not opened:
        return Tone.GOOD
    return Tone.BAD if opened & _BAD else Tone.DOUBTFUL
