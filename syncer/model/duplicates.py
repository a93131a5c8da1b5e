"""People who may be one person: by what they are compared, and how a store finds them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol, runtime_checkable

import pyarrow as pa

from syncer.model.errors import SelectionError
from syncer.model.spelling import quoted
from syncer.model.types import Identity, PersonKey


def pairs_of(names: Iterable[str]) -> pa.Schema:
    """What `FindsDuplicates.duplicates` returns: the older person, and one who may be the same.

    Each has what a store that knows people by *names* and a number knows of them; NULL where there is none.
    """
    person = pa.struct([(str(name), pa.string()) for name in (*names, PersonKey.CIO_ID)])
    return pa.schema([("keep", person), ("merge", person)])


#: Of a store that has no phones.
DUPLICATES = pairs_of(Identity.ID.names)


@runtime_checkable
class FindsDuplicates(Protocol):
    """A store that can compare all its people with each other."""

    def duplicates(self, names: Sequence[str], limit: int | None) -> Generator[pa.Table, None, None]:
        """People who have the same values under all of *names*, each with the oldest of them; changes nothing.

        Values are compared without blanks around them and in lower case, those of `phone` by their digits and a `+`
        before them. Who has nothing under one of the names is nobody's duplicate.

        Shapes:
            names: what the store knows people by are identifiers, every other one is an attribute.
            limit: at most so many rows; None for all.
            returns: tables of `pairs_of` the store's identifiers, by the age of the older person, then of the other; as
                of one moment. To be closed before the store.
        Raises:
            StoreError: the store failed.
        """

    def why_no_duplicates(self, names: Sequence[str]) -> Sequence[str]:
        """What there is to know of *names* if there are none, each a clause for people, such as that nobody has one.

        Raises:
            StoreError: the store failed.
        """


def compared_names(by: str) -> tuple[str, ...]:
    """The names in *by*, such as `email` or `name+birthday`.

    Raises:
        SelectionError: there is none, one is empty or repeated, or nobody could share it.
    """
    names = tuple(name.strip() for name in by.split("+"))
    hint = "Write such as `email`, `phone` or `name+birthday`."
    if not all(names):
        raise SelectionError(f"--by {quoted(by)} has an empty name", hint=hint)
    if len(set(names)) < len(names):
        raise SelectionError(f"--by {quoted(by)} has a name twice", hint=hint)
    if "cio_id" in names:
        raise SelectionError("no two people share a cio_id", hint=hint)
    return names
