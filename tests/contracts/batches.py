"""Batches for stores, written as short as they are thought of."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import pyarrow as pa

from syncer.model.protocols import NUMBERED_VERDICTS, VERDICTS, ProfileStore
from syncer.model.types import Entity, PersonKey, Target

PEOPLE = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("user_id",))
PEOPLE_BY_EMAIL = Target(entity=Entity.PERSON, person_key=PersonKey.EMAIL, key_columns=("mail",))
PEOPLE_BY_PHONE = Target(entity=Entity.PERSON, person_key=PersonKey.PHONE, key_columns=("mobile",))
PEOPLE_BY_CIO_ID = Target(entity=Entity.PERSON, person_key=PersonKey.CIO_ID, key_columns=("cio_id",))
ACCOUNTS = Target(entity=Entity.OBJECT, object_type="account", key_columns=("account_id",))
MEMBERS = Target(
    entity=Entity.RELATIONSHIP,
    person_key=PersonKey.ID,
    object_type="account",
    key_columns=("user_id", "account_id"),
)
DEVICES = Target(entity=Entity.DEVICE, person_key=PersonKey.ID, key_columns=("user_id", "token"))
COUPONS = Target(entity=Entity.COLLECTION, collection="coupons", key_columns=("code",))
PRICES = Target(entity=Entity.COLLECTION, collection="prices", key_columns=("sku", "country"))

S = TypeVar("S", bound=ProfileStore)

#: What stores have columns for, of people and of devices, the visitor whom a person claims, and who moves.
OWN = ("id", "email", "phone", "platform", "last_used", "anonymous", "previous")

ACCEPTED = ("accepted", None)
ABSENT = ("absent", None)


def put(*key: str, attributes: dict[str, Any] | str = "{}", cleared: tuple[str, ...] = (), **own: Any) -> Any:
    """A row that sets *attributes*, a dict or JSON text, unsets *cleared*, and sets the columns of OWN."""
    return "put", key, attributes, cleared, own


def clear(*key: str, cleared: tuple[str, ...]) -> Any:
    """A row that unsets *cleared*."""
    return "clear", key, {}, cleared, {}


def delete(*key: str) -> Any:
    """A row that deletes."""
    return "delete", key, {}, (), {}


def batch_of(*rows: Any) -> pa.RecordBatch:
    """The rows in the order given, numbered from 100; those of OWN are columns where a row has them."""
    own = [name for name in OWN if any(name in row[4] for row in rows)]
    table = pa.table(
        {
            "seq": pa.array(range(100, 100 + len(rows)), pa.int64()),
            "action": [action for action, *_ in rows],
            **{f"k{i + 1}": [key[i] for _, key, *_ in rows] for i in range(len(rows[0][1]))},
            "attributes": [a if isinstance(a, str) else json.dumps(a, ensure_ascii=False) for _, _, a, *_ in rows],
            "cleared": [json.dumps(row[3], ensure_ascii=False) for row in rows],
            **{name: pa.array([row[4].get(name) for row in rows], pa.string()) for name in own},
        }
    )
    return table.combine_chunks().to_batches()[0]


def made(store: S) -> S:
    """The store after the first batch, which makes it, or upgrades an older one, and leaves no row."""
    assert apply(store, ACCOUNTS, delete("nobody")) == [ACCEPTED]
    return store


def sent(store: ProfileStore, target: Target, *rows: Any, create: bool = True) -> pa.Table:
    """Apply one batch and wait for what it comes to: the verdicts."""
    return pa.concat_tables([store.apply(target, batch_of(*rows), create=create), store.flush()])


def apply(store: ProfileStore, target: Target, *rows: Any, create: bool = True) -> list[tuple[str, str | None]]:
    """Apply one batch; verdict and reason of each row, in the order of the rows."""
    verdicts = sent(store, target, *rows, create=create)
    assert verdicts.schema in (VERDICTS, NUMBERED_VERDICTS)
    by_seq = {row["seq"]: (row["verdict"], row["reason"]) for row in verdicts.to_pylist()}
    assert len(verdicts) == len(by_seq)
    assert sorted(by_seq) == batch_of(*rows)["seq"].to_pylist()
    return [by_seq[seq] for seq in sorted(by_seq)]


def person(store: ProfileStore, id_: str, kind: str = "id") -> dict[str, Any]:
    """The person, who must be there."""
    shown = store.show(Entity.PERSON, kind, id_)
    assert shown is not None
    return shown


def attributes(store: ProfileStore, id_: str) -> dict[str, Any]:
    """The person's attributes."""
    found: dict[str, Any] = person(store, id_)["attributes"]
    return found
