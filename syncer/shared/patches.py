"""A snapshot's file as immutable objects: a base, and Parquet deltas of what has changed in it since.

DuckDB keeps a snapshot in two files: the database, of which it writes blocks anew, and its write-ahead log, to which it
appends. At any moment between two statements both together are a whole snapshot, as they are for a process that died.
A base is the database, compressed. A delta has the parts of either file that are not as they were:

    file    `database` or `log`
    at      where the part begins, in bytes
    bytes   what stands there

Its metadata have the lengths of both files, and the digest of the database (see `Image`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from syncer.model.errors import SnapshotError

#: Of both kinds of objects.
FORMAT = 1

#: Bytes: a database begins with three headers, and then has blocks, of which this is the smallest size; a block of a
#: large database may change in part. See https://duckdb.org/docs/current/internals/storage
_HEADERS, _CHUNK = 12_288, 16_384
_DIGEST = 16
#: Bytes that are in memory at a time.
_PART = 4 << 20
#: Nanoseconds. A file that changed so shortly before it was read may change again without another time.
_RACY = 1_000_000_000

_SCHEMA = pa.schema([("file", pa.string()), ("at", pa.int64()), ("bytes", pa.binary())])
_META = b"syncer.snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What the two files of a snapshot were at one moment."""

    #: Bytes of the database.
    size: int
    #: Of its last change, and of this look, in nanoseconds since 1970; it was this file.
    changed_at: int
    seen_at: int
    inode: int
    #: Bytes of the log; 0 where there is none.
    log: int
    #: Of each chunk of the database, in order.
    digests: bytes

    @property
    def digest(self) -> str:
        """Of the whole database."""
        return hashlib.blake2b(self.digests + str(self.size).encode(), digest_size=_DIGEST).hexdigest()

    def has_same_database(self, other: Image) -> bool:
        """Whether the database is the same, whenever it was written."""
        return (self.size, self.digests) == (other.size, other.digests)


def image_of(database: int, log: Path, before: Image | None = None) -> Image:
    """Look at a snapshot: at the descriptor of its database, and at its log.

    Shapes:
        before: a former look, by which a database that has not changed need not be read.
    """
    found, seen_at = os.fstat(database), time.time_ns()
    same = (found.st_size, found.st_mtime_ns, found.st_ino)
    if before is not None and same == (before.size, before.changed_at, before.inode) and _is_settled(before):
        digests = before.digests
    else:
        digests = b"".join(_digests(database, found.st_size))
    return Image(
        size=found.st_size,
        changed_at=found.st_mtime_ns,
        seen_at=seen_at,
        inode=found.st_ino,
        log=log.stat().st_size if log.exists() else 0,
        digests=digests,
    )


def _digests(database: int, size: int) -> Iterator[bytes]:
    headers = _parts_of(database, 0, min(_HEADERS, size))
    for _, part in itertools.chain(headers, _parts_of(database, _HEADERS, size)):
        for at in range(0, len(part), _CHUNK):
            yield hashlib.blake2b(part[at : at + _CHUNK], digest_size=_DIGEST).digest()


def _is_settled(image: Image) -> bool:
    return image.seen_at - image.changed_at > _RACY


def refuse_newer(number: int) -> None:
    """Leave objects of a newer format alone.

    Raises:
        SnapshotError: *number* is one.
    """
    if number > FORMAT:
        raise SnapshotError(
            f"a newer Syncer wrote the shared snapshot, in format {number}; this one knows {FORMAT}",
            hint="Update Syncer on this machine.",
        )


def changed_share(before: Image, now: Image) -> float:
    """Which part of a database has changed, from 0 to 1; what it has no more does not count."""
    changed = _changed_chunks(before, now)
    return changed.count(True) / max(1, len(changed))


def write_base(database: int, target: Path) -> None:
    """Write the base of a database."""
    size = os.fstat(database).st_size
    with pa.CompressedOutputStream(str(target), "zstd") as stream:
        for _, part in _parts_of(database, 0, size):
            stream.write(part)


def read_base(source: Path, database: int) -> None:
    """Make a database what its base has.

    Raises:
        SnapshotError: the base is damaged.
    """
    os.ftruncate(database, 0)
    at = 0
    try:
        with pa.CompressedInputStream(str(source), "zstd") as stream:
            while part := stream.read(_PART):
                at += os.pwrite(database, part, at)
    except (pa.ArrowException, OSError) as exc:
        raise _failed(exc, source.parent) from exc


def write_delta(database: int, log: Path, before: Image, now: Image, target: Path) -> None:
    """Write what has changed in a snapshot; whether anything has, the caller knows."""
    meta = {"format": FORMAT, "database": now.size, "log": now.log, "digest": now.digest}
    schema = _SCHEMA.with_metadata({_META: json.dumps(meta).encode()})
    with pq.ParquetWriter(target, schema, compression="zstd", write_statistics=False, use_dictionary=False) as writer:
        for parts in _gathered(_changes(database, log, before, now)):
            writer.write_table(pa.table([pa.array(column) for column in zip(*parts, strict=True)], schema))


def _gathered(parts: Iterator[tuple[str, int, bytes]]) -> Iterator[list[tuple[str, int, bytes]]]:
    """The same, as many together as fit into memory."""
    gathered, size = list[tuple[str, int, bytes]](), 0
    for part in parts:
        gathered.append(part)
        size += len(part[2])
        if size >= _PART:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered


def _changes(database: int, log: Path, before: Image, now: Image) -> Iterator[tuple[str, int, bytes]]:
    """The parts that have changed: which file, where, and what stands there, neighbours together."""
    changed = _changed_chunks(before, now)
    for is_changed, chunks in itertools.groupby(range(len(changed)), key=changed.__getitem__):
        if is_changed:
            found = [*chunks]
            for at, part in _parts_of(database, _begin(found[0]), min(_begin(found[-1] + 1), now.size)):
                yield "database", at, part
    # A log is appended to until the database has taken it in.
    appended = before.log if now.has_same_database(before) and now.log >= before.log else 0
    if now.log > appended:
        with log.open("rb") as file:
            for at, part in _parts_of(file.fileno(), appended, now.log):
                yield "log", at, part


def _changed_chunks(before: Image, now: Image) -> list[bool]:
    return [old != new for old, new in itertools.zip_longest(_each(before.digests), _each(now.digests)) if new]


def _each(digests: bytes) -> Iterator[bytes]:
    return (digests[at : at + _DIGEST] for at in range(0, len(digests), _DIGEST))


def _begin(chunk: int) -> int:
    return _HEADERS + (chunk - 1) * _CHUNK if chunk else 0


def apply_delta(source: Path, database: int, log: Path) -> str:
    """Make a snapshot what it is after a delta; returns the digest that its database is to have.

    Raises:
        SnapshotError: the delta is damaged, or a newer program's.
    """
    try:
        file = pq.ParquetFile(source)
        meta = json.loads((file.schema_arrow.metadata or {})[_META])
        refuse_newer(meta["format"])
        if not meta["log"]:
            log.unlink(missing_ok=True)
        else:
            log.touch()
        for group in range(file.num_row_groups):
            _write_parts(file.read_row_group(group), database, log)
        os.ftruncate(database, meta["database"])
        if meta["log"]:
            os.truncate(log, meta["log"])
    except (pa.ArrowException, OSError, KeyError, ValueError) as exc:
        raise _failed(exc, source.parent) from exc
    digest: str = meta["digest"]
    return digest


def _write_parts(parts: pa.Table, database: int, log: Path) -> None:
    for part in parts.to_pylist():
        if part["file"] == "database":
            os.pwrite(database, part["bytes"], part["at"])
        else:
            with log.open("r+b") as stream:
                stream.seek(part["at"])
                stream.write(part["bytes"])


@contextmanager
def disk_explained(folder: Path) -> Iterator[None]:
    """Raise SnapshotError where the disk of a folder refuses what is written there."""
    try:
        yield
    except OSError as exc:
        raise _failed(exc, folder) from exc


def _failed(exc: Exception, folder: Path) -> SnapshotError:
    # What Arrow raises for a damaged file has no number of the system's.
    if isinstance(exc, OSError) and exc.errno is not None:
        return SnapshotError(
            f"a shared snapshot cannot be written here: {exc.strerror}: {folder}",
            hint="Free some space in SYNCER_STATE_DIR, or correct its mode, and run the sync again.",
        )
    return SnapshotError(
        "an object of the shared snapshot is damaged",
        hint="`syncer snapshot check NAME` tells which one; `syncer reset NAME` starts from scratch.",
    )


def _parts_of(file: int, first: int, end: int) -> Iterator[tuple[int, bytes]]:
    """A part of a file, in pieces that fit into memory: where each begins, and what it has."""
    for at in range(first, end, _PART):
        yield at, os.pread(file, min(_PART, end - at), at)
