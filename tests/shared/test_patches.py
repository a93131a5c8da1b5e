"""A file and its log come back from a base and deltas as they were, whatever changed in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.model.errors import SnapshotError
from syncer.model.temporary_folders import temporary_folder
from syncer.shared import patches
from syncer.shared.patches import Image, apply_delta, image_of, read_base, write_base, write_delta

#: Where headers, chunks and the parts in memory begin and end.
_EDGES = [0, 1, 12_287, 12_288, 12_289, 28_671, 28_672, 28_673, 100_000]
_PLACES = st.sampled_from(_EDGES)
_HOW = st.sampled_from(["write", "cut", "log", "reset"])
_EDITS = st.lists(st.tuples(_HOW, _PLACES, st.binary(max_size=40)), max_size=6)
Edits = Sequence[tuple[str, int, bytes]]


class Files:
    """A database and its log."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.log = folder / name, folder / f"{name}.wal"
        self.path.touch()
        self.database = os.open(self.path, os.O_RDWR)

    def image(self, before: Image | None = None) -> Image:
        return image_of(self.database, self.log, before)

    def edit(self, edits: Edits) -> None:
        for how, at, content in edits:
            match how:
                case "write":
                    os.pwrite(self.database, content, at)
                case "cut":
                    os.ftruncate(self.database, at)
                case "log":
                    with self.log.open("ab") as log:
                        log.write(content)
                case _:
                    # As a checkpoint does, it writes the database too.
                    self.log.unlink(missing_ok=True)
                    os.pwrite(self.database, content or b"x", 8)

    @property
    def content(self) -> tuple[bytes, bytes]:
        return self.path.read_bytes(), self.log.read_bytes() if self.log.exists() else b""


@contextmanager
def files(folder: Path, *names: str) -> Iterator[list[Files]]:
    found = [Files(folder, name) for name in names]
    try:
        yield found
    finally:
        for one in found:
            os.close(one.database)


@settings(max_examples=60, deadline=None)
@given(first=_EDITS, later=st.lists(_EDITS, max_size=4))
def test_what_changed_comes_back(first: Edits, later: list[Edits]) -> None:
    with temporary_folder() as folder, files(folder, "own", "copy") as (own, copy):
        own.edit(first)
        before, made = own.image(), folder / "object"
        write_base(own.database, made)
        read_base(made, copy.database)
        write_delta(own.database, own.log, replace(before, log=0), before, made)
        assert apply_delta(made, copy.database, copy.log) == copy.image().digest
        assert copy.content == own.content
        for edits in later:
            own.edit(edits)
            now = own.image(before)
            write_delta(own.database, own.log, before, now, made)
            assert apply_delta(made, copy.database, copy.log) == now.digest == copy.image().digest
            assert copy.content == own.content
            before = now


def test_a_delta_has_what_changed_and_no_more(tmp_path: Path) -> None:
    with files(tmp_path, "own") as (own,):
        os.pwrite(own.database, os.urandom(1 << 20), 0)
        before = own.image()
        own.edit([("write", 500_000, b"changed"), ("log", 0, b"appended")])
        write_delta(own.database, own.log, before, own.image(before), tmp_path / "object")

    parts = pq.read_table(tmp_path / "object").to_pylist()
    assert [(part["file"], len(part["bytes"])) for part in parts] == [("database", 16_384), ("log", 8)]


def test_a_file_that_was_not_written_is_not_read_again(tmp_path: Path) -> None:
    with files(tmp_path, "own") as (own,):
        own.edit([("write", 0, b"x" * 50_000)])
        os.utime(own.path, ns=(0, 0))
        before = own.image()
        # As nothing but a lie about the time could tell, the digests are those of before.
        os.pwrite(own.database, b"y", 0)
        os.utime(own.path, ns=(0, 0))

        assert own.image(before).digests == before.digests
        assert own.image().digests != before.digests


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_damaged_objects_are_told(tmp_path: Path, keep: int) -> None:
    with files(tmp_path, "own", "copy") as (own, copy):
        own.edit([("write", 0, os.urandom(50_000)), ("log", 0, os.urandom(500))])
        base, delta = tmp_path / "base", tmp_path / "delta"
        write_base(own.database, base)
        write_delta(own.database, own.log, copy.image(), own.image(), delta)
        for path in (base, delta):
            path.write_bytes(path.read_bytes()[:keep] + b"\xff" * 50)

        with pytest.raises(SnapshotError, match="damaged"):
            read_base(base, copy.database)
        with pytest.raises(SnapshotError, match="damaged"):
            apply_delta(delta, copy.database, copy.log)


def test_objects_of_a_newer_format_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with files(tmp_path, "own", "copy") as (own, copy):
        own.edit([("write", 0, b"x")])
        with monkeypatch.context() as newer:
            newer.setattr(patches, "FORMAT", patches.FORMAT + 1)
            write_delta(own.database, own.log, copy.image(), own.image(), tmp_path / "delta")

        with pytest.raises(SnapshotError, match="newer Syncer") as caught:
            apply_delta(tmp_path / "delta", copy.database, copy.log)
        assert "Update Syncer" in caught.value.hint
        assert copy.content == (b"", b"")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with files(tmp_path, "own") as (own,):
        own.edit([("write", 0, os.urandom(5 << 20))])
        with pytest.raises(SnapshotError, match="No space left") as caught, patches.disk_explained(tmp_path):
            write_base(own.database, Path("/dev/full"))
    assert "SYNCER_STATE_DIR" in caught.value.hint
