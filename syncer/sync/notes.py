"""What a run or a plan says of its rows beside their counts."""

from __future__ import annotations

from syncer.snapshot.diff import Difference
from syncer.snapshot.ledger import Intent
from syncer.snapshot.snapshot import Staged


def notes_on_rows(staged: Staged, difference: Difference, *, one_row: bool) -> list[str]:
    """A sentence for each thing that the counts do not show, with how many rows it concerns; may be empty.

    *one_row*: whether one row is sent, whatever changed.
    """
    notes = []
    if staged.repeated:
        notes.append(f"rows that stood in the result once more, and count once: {staged.repeated:,}")
    if staged.taken_for_null:
        notes.append(f"values that were NaN, infinite or out of range, and count as NULL: {staged.taken_for_null:,}")
    if difference.sent_again and not one_row:
        notes.append(f"rows that are sent again though they did not change: {difference.sent_again:,}")
    if staged.schema.definition.create and (people := difference.made_anew):
        notes.append(
            f"people whom another sync deleted, and whom this query still returns: {people:,}; the store makes them "
            "anew, unless they are on a list with `action: suppress`"
        )
    if difference.left:
        notes.append(
            f"people who lost the identifier of a row, and count as removed with what it gave them: {difference.left:,}"
        )
    if people := _moving(difference):
        notes.append(f"people who have another email, count as added, and keep what the store has of them: {people:,}")
    if difference.moved:
        notes.append(
            "devices that belong to somebody else now, and count as removed and added, but for no limit of removals: "
            f"{difference.moved:,}"
        )
    if difference.unaddressed:
        notes.append(
            "rows that left the result after their identifier moved to another person, so that nothing is removed: "
            f"{difference.unaddressed:,}"
        )
    return notes + _on_events(difference.intent)


def _moving(difference: Difference) -> int:
    """How many people the store knows by another email so far."""
    if difference.work.layout.schema.previous is None:
        return 0
    from syncer.snapshot import moves

    return moves.rows(difference.work.session)


def _on_events(intent: Intent) -> list[str]:
    words = {
        "events that are past, as `start` says, and are not sent": intent.past,
        "events that are not known, and older than what `remember` keeps, so that they are not sent": intent.forgotten,
        "events that changed after they were sent, and are not sent again": intent.altered,
    }
    return [f"{what}: {rows:,}" for what, rows in words.items() if rows]
