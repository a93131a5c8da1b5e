"""What commands print: results on stdout, everything else on stderr, and nothing that a terminal would obey."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import traceback
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from syncer.model.errors import SyncerError
from syncer.model.json_text import json_text
from syncer.model.spelling import visible

if TYPE_CHECKING:
    from syncer.sync.progress import Progress

_COLOURS = {
    "success": "32",
    "warning": "33",
    "held": "33",
    "skipped": "33",
    "interrupted": "33",
    "failed": "31",
    "running": "36",
}

#: Between columns.
GAP = "  "


def prepare() -> None:
    """Make stdout and stderr able to show any text, and send warnings of the log to stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLevel())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def flush() -> None:
    """Flush stdout, even if its reader is gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether colour and progress may be shown."""
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def progress_shown(progress: Progress, title: str) -> AbstractContextManager[Callable[[], None]]:
    """Show the progress of a run if there is a terminal; gives what removes the bar early."""
    if not (is_terminal() and is_terminal(sys.stderr)):
        return nullcontext(lambda: None)
    from syncer.cli import progress_bar

    return progress_bar.shown(progress, title)


def line(text: str = "") -> None:
    """Print a line of a result."""
    print(visible(text), flush=True)


def json_line(value: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of its own."""
    raw_json_line(json_text(value))


def raw_json_line(text: str) -> None:
    """Print a JSON text that is complete already."""
    print(text if text.isprintable() else "".join(map(_json_sign, text)), flush=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()) -> None:
    """Print aligned columns, as wide as their widest value; nothing is cut.

    On a terminal that is narrower, cells wrap between words.
    """
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(headings, *shown, strict=True)]
    if is_too_narrow(widths):
        print_narrow_table(headings, shown, right, terminal_width())
        return
    for row in (headings, *shown):
        print_row(row, widths, [heading in right for heading in headings])


def terminal_width() -> int:
    """The columns of the terminal; 0 if stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def is_too_narrow(widths: Sequence[int]) -> bool:
    """Whether columns of these widths do not fit the terminal."""
    return 0 < terminal_width() < sum(widths) + len(GAP) * (len(widths) - 1)


def print_row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> None:
    """Print one row of a table; a wider cell pushes the others on."""
    padded = [_padded(cell, room, rightwards) for cell, room, rightwards in zip(cells, widths, right, strict=True)]
    if is_terminal():
        padded = [f"\x1b[{colour}m{c}\x1b[0m" if (colour := _COLOURS.get(c.strip())) else c for c in padded]
    print(GAP.join(padded).rstrip(), flush=True)


def remark(text: str, *, as_json: bool) -> None:
    """Print a line that is not JSON; on stderr if stdout carries JSON."""
    print(visible(text), file=sys.stderr if as_json else sys.stdout, flush=True)


def problem(word: str, text: str, hint: str = "") -> None:
    """Print a problem to stderr, and what to do about it."""
    lines = [visible(f"{word}: {part}") for part in text.split("\n")]
    lines += [f"  {visible(part)}" for part in hint.split("\n") if part]
    print("\n".join(lines), file=sys.stderr, flush=True)


def sync_problem(word: str, sync: str, text: str, hint: str = "") -> None:
    """Print a problem with one sync, whose name *text* may begin with."""
    problem(word, f"{sync}: {text.removeprefix(f'`{sync}` ')}", hint)


def print_exception(error: Exception) -> None:
    """Print the error that ended the command, but not the text of an unexpected one, which may hold values."""
    if isinstance(error, SyncerError):
        problem("error", str(error), error.hint)
        return
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    print(f"error: unexpected {type(error).__name__}; this is a defect of Syncer\n{frames}", file=sys.stderr)


def time_text(moment: datetime | None) -> str:
    """A time for people, such as `2026-11-23 16:05:09Z`."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def width(text: str) -> int:
    """The columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


class _OneLevel(logging.Formatter):
    """`warning: text`, as the other messages are."""

    def format(self, record: logging.LogRecord) -> str:
        lines = record.getMessage().split("\n")
        return "\n".join([f"{record.levelname.lower()}: {visible(lines[0])}", *map(visible, lines[1:])])


def _json_sign(sign: str) -> str:
    if sign.isprintable():
        return sign
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _padded(cell: str, room: int, right: bool) -> str:
    blanks = " " * max(0, room - width(cell))
    return blanks + cell if right else cell + blanks


def print_narrow_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str], most: int
) -> None:
    """Print a table on *most* columns; no word is broken unless it is wider.

    What fits first is shown: cells that wrap between words; the numbers, in the columns that *right* names, in one
    column and without zeros; each row as a list.
    """
    numbers = [place for place, heading in enumerate(headings) if heading in right]
    if _print_wrapped(headings, rows, right, most):
        return
    if numbers:
        merged = [_merged(headings, row, numbers) for row in rows]
        names = [name for place, name in enumerate(headings) if place not in numbers[1:]]
        names = ["counts" if name in right else name for name in names]
        if _print_wrapped(names, merged, (), most):
            return
        headings, rows = names, merged
    _print_lists(headings, rows, most)


def print_narrow_run(headings: Sequence[str], row: Sequence[str], name_width: int, most: int) -> None:
    """Print how one run ended: its sync, its status, and its numbers, without zeros and without headings."""
    sync, status, counts = _merged(headings, row, range(2, len(headings)))
    widths = (name_width, len("success"))
    room = most - sum(widths) - 2 * len(GAP)
    if room >= max(map(width, counts.split())):
        for line, part in enumerate(_wrapped(counts, room)):
            print_row(("" if line else sync, "" if line else status, part), (*widths, 0), (False,) * 3)
    else:
        print_row((sync, status), (0, 0), (False, False))
        for part in _wrapped(counts, most - len(GAP)):
            print_row(("", part), (0, 0), (False, False))


def _merged(headings: Sequence[str], row: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """A row with its numbers in one cell, such as `2000 queried, 3 added`."""
    counted = ", ".join(f"{row[place]} {headings[place]}" for place in numbers if row[place] not in ("", "0"))
    return [counted if place == numbers[0] else cell for place, cell in enumerate(row) if place not in numbers[1:]]


def _print_wrapped(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str], most: int) -> bool:
    """Print a table whose cells wrap between words; False if it does not fit even so."""
    columns = [*zip(headings, *rows, strict=True)]
    least = [max(width(word) for cell in column for word in cell.split() or [""]) for column in columns]
    widths = [max(map(width, column)) for column in columns]
    room = most - len(GAP) * (len(columns) - 1)
    if sum(least) > room:
        return False
    while sum(widths) > room:
        widest = max((place for place, width in enumerate(widths) if width > least[place]), key=widths.__getitem__)
        widths[widest] -= 1
    for row in (headings, *rows):
        cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            print_row(line, widths, [heading in right for heading in headings])
    return True


def _print_lists(headings: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> None:
    label = max(map(width, headings))
    for number, row in enumerate(rows):
        if number:
            line()
        for heading, cell in zip(headings, row, strict=True):
            for place, part in enumerate(_wrapped(cell, most - label - len(GAP)) if cell else []):
                print_row(("" if place else heading, part), (label, 0), (False, False))


def _wrapped(cell: str, most: int) -> list[str]:
    """*cell* in lines of *most* columns, but for words that are wider; its indentation stays."""
    line = cell[: len(cell) - len(cell.lstrip())]
    lines = []
    for word in cell.split():
        if line.strip() and width(f"{line} {word}") > most:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line.strip() else f"{line}{word}"
    return [*lines, line]
