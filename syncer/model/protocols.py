"""The two seams to the outside: a warehouse that is read and a profile store that is written.

What only some of them can do is a protocol of its own, which the others leave out.

A warehouse's Arrow schema may add to Arrow's types. A string field whose metadata has
`syncer: json` holds JSON text; `syncer: number` holds decimal digits of any length (or `NaN`, `Infinity`,
`-Infinity`); every other string is text.

Some warehouses fold names to upper case unless the query quotes them. Such names are in lower case, and the metadata
of the schema says so: COLUMN_CASE is the case that the URL asks for, `lower` or `as_is`, or else `default`;
WRITTEN_NAMES is a JSON array of the names as the warehouse has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from syncer.model.arrow import work_without_pandas
from syncer.model.types import Column, Entity, Identity, Probe, Target, ValueForm

work_without_pandas()

#: The key of a field's metadata that marks JSON and digits.
KIND = b"syncer"
JSON = {KIND: b"json"}
NUMBER = {KIND: b"number"}

#: The keys of a schema's metadata about its names.
COLUMN_CASE, WRITTEN_NAMES = b"syncer.column_case", b"syncer.written_names"
DEFAULT_CASE = "default"

#: The answer to a row; a `seq` that has none is in doubt.
VERDICTS = pa.schema([("seq", pa.int64()), ("verdict", pa.string()), ("reason", pa.string())])
#: The same of a store that numbers people (see NumbersPeople): whom an accepted `put` went to, or NULL.
NUMBERED_VERDICTS = VERDICTS.append(pa.field("person", pa.int64()))


class Warehouse(Protocol):
    """A database that is only ever read. One object serves one run and one thread at a time."""

    def columns(self, sql: str) -> tuple[Column, ...]:
        """The columns that *sql* would return, in order, without running it to its end.

        Raises:
            WarehouseError: the warehouse refused the query.
        """

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        """The result of one SELECT, streamed from one read-only transaction.

        Shapes:
            sql: one statement, no trailing semicolon needed. Never more than one is run.
            returns: the schema at once, then batches of at most some ten thousand rows; no row is a valid
                result. Column names are as the query gives them, repeated ones too.
        Units:
            timeout: for the whole query, reading included; then it is cancelled on the server.
        Raises:
            WarehouseError: here or at any batch: refused, cut off, or over the timeout. What was read so far
                is no result.
        """

    def close(self) -> None:
        """Let go of every connection; calling it twice is fine, also in the middle of a result."""


class ProfileStore(Protocol):
    """Where people, objects, relationships, collections and devices live. Used by one thread at a time."""

    #: The store's own permanent id; a store that was created again has another one.
    store_id: str
    identity: Identity
    #: The most rows that `apply` receives at once.
    batch_rows: int
    #: The most bytes of JSON (UTF-8) that one collection may hold.
    collection_bytes: int
    #: How numbers and times are written in the `attributes` that `apply` receives.
    value_form: ValueForm

    def check(self, target: Target, *, create: bool = True) -> None:
        """Make sure that the store can be fed *target*, with *create* as for `apply`.

        Raises:
            StoreRefusesError: it identifies people by what this store does not know, or lacks a key or a setting.
        """

    def identifiers(self, target: Target, keys: pa.Table) -> pa.Table:
        """Every name by which the store knows the entities about to be deleted.

        Shapes:
            keys: strings `k1`, … in the order of the target's key.
            returns: `entity` (as in Entity), `kind` (`id`, `email`, `phone`, `cio_id`; an object's type; a
                collection's name), `value` (text). Several rows an entity; none for what does not exist.
                Only for a person and an object.
        """

    def apply(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
        """Make the store agree with *batch*; applying it twice is the same as once.

        The store may go on with it after this returns, and answer at a later call. All batches until `flush` are of
        one target, and no key comes twice in them.

        Shapes:
            batch: 1 to `batch_rows` rows, no key twice, of:
                seq int64, ascending.
                action string, `put`, `clear` or `delete` (see below); of a list its own alone (see ListAction), which
                    is accepted where it is done already: nobody is there, or two people are one.
                k1, … string, not null: the target's key. A person's id, email (folded to lower case), phone or
                    cio_id; an object's id; for a relationship the person, then the object; for a device the person,
                    then the token; for a collection as many as its key has; for a merge whom to keep, then who goes.
                attributes string: a JSON object of the values to set, without nulls at its top level and without
                    spaces around it or, where it is empty, in it. For a collection the row's whole `data`.
                cleared string: a JSON array of the attributes to unset.
                person int64: see NumbersPeople. Of an event there are more columns: see `model.event_stores`.
                id, email, phone string: only for a person, and of what the store's identity names only where the result
                    has it beside the key: the value to set, or NULL: unset where `cleared` names it, else untouched.
                platform, last_used string: the same for a device. A platform is `ios` or `android`; a time is ISO-8601
                    with an offset, or unix seconds where `value_form` says so.
            returns: VERDICTS, a row for each row of this batch or of earlier ones that the store answered for and has
                not told yet, in any order.
            `put` merges the attributes: what is not named stays. Without *create* it touches only people and objects
            that exist, else the verdict is `absent`. `clear` unsets the attributes in `cleared` of what exists.
            `delete` deletes the person, object, relationship, collection row or device. Clearing or deleting what does
            not exist is accepted. A `put` of a device takes its token from whoever else has it, without what was known
            of it there; a `delete` is of its person's device alone. A token has one put in a batch, after deletes.
            Where the store replaces collections (see ReplacesCollections), a collection's batch is all of it: rows that
            stay have no seq (null) and need no verdict, and a column `acknowledged` has what the store last accepted
            of a row, as a JSON object, or NULL; `attributes` of a row to delete are empty, and a rejected row stays as
            it was.
        Raises:
            StoreError: the store failed, perhaps at an earlier batch. No later batch should be sent; `flush` returns
                the earlier verdicts, and every other row is in doubt.
        """

    def flush(self) -> pa.Table:
        """Wait for all that `apply` was given; returns the verdicts that no call has returned yet.

        Raises:
            StoreError: the store failed. It is raised once, here or by `apply`: the next call returns the earlier
                verdicts. Nothing is in flight any more.
        """

    def show(self, entity: Entity, kind: str, value: str) -> dict[str, Any] | None:
        """What the store holds of one thing, ready for JSON; None where there is none.

        Shapes:
            kind, value: for a person `id`, `email`, `phone` or `cio_id` and its value; for an object its type and
                its id; for a collection its name, and the key of a row or empty for the first rows.
        """

    def close(self) -> None:
        """Let go of every connection; calling it twice is fine."""


@runtime_checkable
class Probing(Protocol):
    """A warehouse or store that can be looked at; one that cannot is reachable if it opens."""

    def probe(self) -> Probe:
        """Look whether it answers, and for a warehouse whether this role could write; changes nothing."""


@runtime_checkable
class TriesWriting(Protocol):
    """A store that can tell before a run whether its login may write."""

    def write_fault(self) -> str:
        """Why it may not, a sentence or more; empty where it may. Changes nothing."""


@runtime_checkable
class TellsTime(Protocol):
    """A warehouse whose clock can be read, which may differ from this machine's."""

    def now(self) -> datetime:
        """The time by the warehouse's clock, aware, in UTC.

        Raises:
            WarehouseError: it did not answer.
        """


@runtime_checkable
class DatesAnswers(Protocol):
    """A store whose answers may say what time it is there."""

    def clock(self) -> datetime | None:
        """The time by its clock, aware, in UTC; None if it does not say.

        Raises:
            StoreError: it did not answer.
        """


@runtime_checkable
class ForecastingQueries(Protocol):
    """A warehouse that knows before a query runs what it will cost."""

    def forecast(self, sql: str) -> str:
        """What running *sql* will cost, a sentence for people.

        Raises:
            WarehouseError: the warehouse refused the query.
        """


@runtime_checkable
class MadeLater(Protocol):
    """A store that the first row makes; until then `store_id` is the one that it will have if this process makes it."""

    @property
    def is_new(self) -> bool:
        """Whether it has not been made yet."""


@runtime_checkable
class Fenced(Protocol):
    """A store that keeps which run wrote last, so that one put back from a backup, or fed from elsewhere, is noticed.

    A ledger is the name of what coordinates the runs of a state folder: the id of its run log.
    """

    def fences(self, sync: str) -> Mapping[str, str]:
        """The run of *sync* that wrote last, by ledger."""

    def fence(self, *, ledger: str, sync: str, run_id: str) -> None:
        """Record this run with each batch from now on, in the batch's transaction."""

    def forget_fence(self, *, ledger: str, sync: str) -> None:
        """Drop the record of a ledger that is no more."""


@runtime_checkable
class NumbersPeople(Protocol):
    """A store that gives every person a number of its own, which stays when identifiers move to somebody else.

    It answers with NUMBERED_VERDICTS. A batch of `clear` and `delete` may have a column `person` int64: such a row
    reaches the person of that number, whoever its key names now; NULL leaves it to the key. So may the keys that
    `identifiers` is given.
    """

    def whereabouts(self, target: Target, rows: pa.Table) -> pa.Table:
        """Whom keys name now, and what names people now.

        Shapes:
            rows: k1 string, person int64; may repeat, NULL where no number is known.
            returns: WHEREABOUTS, one for each of *rows*, in their order.
        """

    def moves_since(self, seq: int) -> Moves:
        """The identifiers that people have lost, perhaps to others, after a number; 0 for all there are."""

    def forget_moves(self, before: datetime) -> None:
        """Drop the identifiers that were lost before *before*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """What `NumbersPeople.moves_since` found."""

    #: IDENTIFIERS; the entity is MOVED.
    identifiers: pa.Table
    #: The number from which to look next time.
    newest: int
    #: Whether some that belong here were dropped for their age, or the store was restored to before the number.
    is_incomplete: bool


#: What `NumbersPeople.whereabouts` returns: the row's own columns; the person whom k1 names now; whether `person`
#: exists, and the identifier of the target's kind that names it. NULL where there is none.
WHEREABOUTS = pa.schema(
    [
        ("k1", pa.string()),
        ("person", pa.int64()),
        ("named", pa.int64()),
        ("is_there", pa.bool_()),
        ("known_as", pa.string()),
    ]
)


@runtime_checkable
class ReadsBack(Protocol):
    """A store of which many entities can be read, to compare them with what was sent."""

    store_id: str
    value_form: ValueForm
    #: Whether values come as text, whatever they were sent as.
    gives_texts: bool

    def can_list(self, target: Target) -> bool:
        """Whether `contained` needs no keys."""

    def contained(self, target: Target, keys: pa.Table | None) -> Iterator[pa.Table]:
        """What the store has of the entities that *target* feeds, whoever wrote it, as of one moment where it can.

        Shapes:
            keys: strings `k1`, … in the order of the target's key; None for every entity.
            returns: tables of strings, in any order. For a person, a relationship and a device `cio_id` and what the
                identity names; for an object and a relationship `object_id`; for a device `token`, `platform`,
                `last_used` as in `apply`; for a collection `key`, NULL where the store keeps none: then all rows come.
                `attributes` is a JSON object, of a collection a row's `data`, and NULL where the store gives none.
        Raises:
            StoreError: the store failed.
        """

    def ledgers(self) -> frozenset[str]:
        """The ledgers (see Fenced) whose syncs wrote to the store, as far as it keeps them."""


@runtime_checkable
class ReplacesCollections(Protocol):
    """A store that may have to replace a whole collection to change a row: `apply` is given all of one as one batch."""

    replaces_collections: Literal[True]


@runtime_checkable
class AddressesTargets(Protocol):
    """A store whose settings say where it keeps what a target names."""

    def address(self, target: Target) -> str:
        """Where that is: another text for another place, and never a secret; two types of one address are the same."""


@runtime_checkable
class Interruptible(Protocol):
    """A store that may wait for long: for its turn to send, or before it tries again."""

    def interrupt(self) -> None:
        """End every wait at once, and send nothing more; any thread may call it, at any time.

        A call that waits, and every later one that would send, raises StoreError. What is on its way is still answered,
        and `flush` returns those verdicts.
        """


#: In the place of an entity: a person who has lost this identifier, perhaps to somebody else.
MOVED = "moved"
#: In the place of an entity: a person into whom another one was merged.
KEPT = "kept"
#: In the place of an entity: one of this sort of which attributes were unset that other syncs write too.
UNSET = {entity: f"unset {entity}" for entity in Entity}

#: What `identifiers` returns.
IDENTIFIERS = pa.schema([("entity", pa.string()), ("kind", pa.string()), ("value", pa.string())])
