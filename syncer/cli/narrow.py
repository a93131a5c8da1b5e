"""Tables on a terminal that is too narrow for them; no word is broken unless it is wider than the terminal.

What fits first is shown: cells that wrap between words; numbers in one column, without zeros; each row as a list.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest

from syncer.cli import output


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str], most: int) -> None:
    """Print a table on *most* columns; the numbers are in the columns that *right* names."""
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


def print_run(headings: Sequence[str], row: Sequence[str], name_width: int, most: int) -> None:
    """Print how one run ended: its sync, its status, and its numbers, without zeros and without headings."""
    sync, status, counts = _merged(headings, row, range(2, len(headings)))
    widths = (name_width, len("success"))
    room = most - sum(widths) - 2 * len(output.GAP)
    if room >= max(map(output.width, counts.split())):
        for line, part in enumerate(_wrapped(counts, room)):
            output.print_row(("" if line else sync, "" if line else status, part), (*widths, 0), (False,) * 3)
    else:
        output.print_row((sync, status), (0, 0), (False, False))
        for part in _wrapped(counts, most - len(output.GAP)):
            output.print_row(("", part), (0, 0), (False, False))


def _merged(headings: Sequence[str], row: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """A row with its numbers in one cell, such as `2000 queried, 3 added`."""
    counted = ", ".join(f"{row[place]} {headings[place]}" for place in numbers if row[place] not in ("", "0"))
    return [counted if place == numbers[0] else cell for place, cell in enumerate(row) if place not in numbers[1:]]


def _print_wrapped(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str], most: int) -> bool:
    """Print a table whose cells wrap between words; False if it does not fit even so."""
    columns = [*zip(headings, *rows, strict=True)]
    least = [max(output.width(word) for cell in column for word in cell.split() or [""]) for column in columns]
    widths = [max(map(output.width, column)) for column in columns]
    room = most - len(output.GAP) * (len(columns) - 1)
    if sum(least) > room:
        return False
    while sum(widths) > room:
        widest = max((place for place, width in enumerate(widths) if width > least[place]), key=widths.__getitem__)
        widths[widest] -= 1
    for row in (headings, *rows):
        cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            output.print_row(line, widths, [heading in right for heading in headings])
    return True


def _print_lists(headings: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> None:
    label = max(map(output.width, headings))
    for number, row in enumerate(rows):
        if number:
            output.line()
        for heading, cell in zip(headings, row, strict=True):
            for line, part in enumerate(_wrapped(cell, most - label - len(output.GAP)) if cell else []):
                output.print_row(("" if line else heading, part), (label, 0), (False, False))


def _wrapped(cell: str, width: int) -> list[str]:
    """*cell* in lines of *width* columns at most, but for words that are wider; its indentation stays."""
    line = cell[: len(cell) - len(cell.lstrip())]
    lines = []
    for word in cell.split():
        if line.strip() and output.width(f"{line} {word}") > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line.strip() else f"{line}{word}"
    return [*lines, line]
