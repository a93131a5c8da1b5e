"""What DuckDB has too little memory for is done again with more, and a result is read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from syncer.model.types import Entity, PersonKey, Target
from syncer.snapshot import file
from syncer.snapshot.result_stream import ResultStream
from syncer.snapshot.session import Session, retried

_TARGET = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",))
#: Takes more than 20 MB, and less than 500.
_SORT = "SELECT i, repeat('some text ' || i, 8) AS t FROM range(300000) r(i) ORDER BY hash(i)"


@pytest.fixture
def session() -> Iterator[Session]:
    with duckdb.connect(config={"memory_limit": "20MB", "max_temp_directory_size": "0KB", "threads": 1}) as connection:
        connection.execute("SET VARIABLE part = 500000000")
        yield Session(connection=connection, sync="customers", target=_TARGET)


def _limit(session: Session) -> float:
    ((shown,),) = session.rows("SELECT current_setting('memory_limit')")
    return float(shown.split()[0])


def test_a_statement_gets_as_much_more_as_it_needs(session: Session) -> None:
    before = _limit(session)

    session.execute(f"CREATE TEMP TABLE sorted AS {_SORT}")

    assert session.count("SELECT count(*) FROM sorted") == 300_000
    assert before < _limit(session) < 500


def test_no_more_than_its_part(session: Session) -> None:
    session.execute("SET VARIABLE part = 30000000")

    with pytest.raises(duckdb.OutOfMemoryException):
        session.execute(f"CREATE TEMP TABLE sorted AS {_SORT}")

    assert _limit(session) < 30
    assert not session.has_table("sorted")


@dataclass
class _Owner:
    session: Session
    begun: int = 0

    @retried
    def record(self) -> None:
        self.begun += 1
        with self.session.transaction():
            self.session.execute("INSERT INTO kept VALUES (1)")
            self.session.execute(f"CREATE TABLE sorted AS {_SORT}")


def test_a_transaction_is_undone_before_it_is_done_again(session: Session) -> None:
    session.execute("CREATE TABLE kept (n INTEGER)")
    owner = _Owner(session)

    owner.record()

    assert owner.begun > 1
    assert session.rows("SELECT n FROM kept") == [(1,)]
    assert session.count("SELECT count(*) FROM sorted") == 300_000


def test_what_is_left_of_a_stream_is_no_result(session: Session) -> None:
    batch = pa.record_batch({"id": [f"{i} ".ljust(200, "x") for i in range(10_000)]})
    stream = ResultStream(pa.RecordBatchReader.from_batches(batch.schema, iter([batch] * 30)), used=[0])

    with pytest.raises(duckdb.OutOfMemoryException):
        stream.read(session, "CREATE TEMP TABLE staged AS SELECT * FROM incoming", lambda row_bytes, rows: None)

    assert not session.has_table("staged")


def test_ids_of_events_need_no_room_and_long_rows_do(tmp_path: Path) -> None:
    path = tmp_path / "paid.duckdb"
    with file.locked(path, sync="paid") as connection:
        session = Session(connection=connection, sync="paid", target=_TARGET)
        before = _limit(session)
        session.execute(
            "CREATE TABLE sent_events AS SELECT hash(i) AS high FROM range(3000000) AS t (i); CHECKPOINT own"
        )

        session.execute("CHECKPOINT own")
        file.room_for(connection, path, columns=1, rows=0, is_whole=False)
        assert _limit(session) == pytest.approx(before, rel=0.1)

        file.room_for(connection, path, columns=1, rows=100, is_whole=False)(40_000, 100)
        assert _limit(session) > 5 * before
