"""The ledger whose rows the warehouse keeps between two runs; see `warehouse_rows`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from syncer.model.errors import WarehouseError
from syncer.model.types import Removed, ValueForm
from syncer.snapshot import file
from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.incoming import staged_rows_sql
from syncer.snapshot.ledger import Asked, Intent, Writer, WriterState
from syncer.snapshot.result_stream import ResultStream
from syncer.snapshot.tables import ELSEWHERE, FORMATS, MANY_ROWS, write_anew
from syncer.snapshot.warehouse_rows import WarehouseRows

log = logging.getLogger(__name__)


class WarehouseLedger(FileLedger):
    """One sync's file, open and locked, beside the rows that are kept elsewhere; see `Ledger`."""

    @classmethod
    def over(cls, ledger: FileLedger) -> WarehouseLedger:
        """The same as *ledger*, which is of no more use."""
        made = cls(ledger.session, ledger._path)
        made.notes = ledger.notes
        return made

    def begin(self) -> None:
        """Bring the file and what is kept together; where that was another file's, every row is in doubt.

        Raises:
            SnapshotError, WarehouseError: as `WarehouseRows.begin`.
        """
        keys = ", ".join(f"{key} VARCHAR" for key in self.session.keys)
        self.session.execute(f"CREATE TABLE IF NOT EXISTS fetched ({keys})")
        if not self.rows.begin():
            with self._transaction():
                self._put_in_doubt("TRUE")
                self._remember(last_sync_time="0")

    def memory(self) -> Mapping[str, str]:
        """See `warehouse_rows.Memory`."""
        return self._memory()

    def remember(self, **values: str) -> None:
        """See `warehouse_rows.Memory`."""
        version = values.get("kept_version")
        # Only of such files an earlier Syncer must know that it does not know all.
        format_ = {} if version is None else {"format": str(ELSEWHERE if version else FORMATS.newest)}
        self._remember(**values, **format_)

    def doubt(self, removed: Removed, *, log_id: str, also: Mapping[str, str]) -> None:
        """See `Ledger`."""
        if removed.sets or removed.is_incomplete:
            self.rows.take_all()
        super().doubt(removed, log_id=log_id, also=also)

    def follow_writers(
        self, writers: Mapping[str, Writer], state_of: Callable[[str], WriterState], *, form: ValueForm
    ) -> None:
        """See `Ledger`."""
        if any(state_of(sync) is not WriterState.FEEDS for sync in writers):
            self.rows.take_all()
        super().follow_writers(writers, state_of, form=form)

    def differing(self, incoming: ResultStream, layout: ColumnMap, *, every_row: bool) -> int:
        """See `Ledger`; what the file lacks of the result is in `WarehouseRows.stayed`."""
        session, k = self.session, self.session.k
        session.execute("DROP TABLE IF EXISTS staged")
        rows = session.count("SELECT count(*) FROM snapshot")
        make_room = file.room_for(
            session.connection, self._path, columns=len(layout.columns), rows=rows, is_whole=False
        )
        statement = staged_rows_sql(session, layout, every_row=True, is_printed=incoming.is_printed)
        incoming.read(session, statement, make_room)
        self.rows.take_fetched()
        none = " LIMIT 0" if layout.schema.definition.incremental else ""
        gone = f"SELECT {k} FROM snapshot ANTI JOIN staged USING ({k}){none}"
        session.execute(f"CREATE OR REPLACE TEMP TABLE gone AS {gone}")
        return 0

    def settle(
        self, layout: ColumnMap, intent: Intent, *, started_at: datetime, asked: Asked, ended_well: bool
    ) -> None:
        """See `Ledger`; what the warehouse cannot keep now stays in the file, and goes there at the next run."""
        super().settle(layout, intent, started_at=started_at, asked=asked, ended_well=ended_well)
        if any(path.exists() for path in self.former):
            # What is to be removed is compared with all rows.
            return
        are_many = self.session.any(f"FROM (SELECT 1 FROM snapshot OFFSET {MANY_ROWS})")
        try:
            self.rows.put_back()
        except WarehouseError as exc:
            log.warning("rows stay on this machine until the next run: %s", exc, extra={"sync": self.session.sync})
            return
        if are_many:
            write_anew(self.session, self._path.resolve())

    def _put_in_doubt(self, which: str) -> None:
        self.rows.take_all_at_once()
        super()._put_in_doubt(which)

    @property
    def rows(self) -> WarehouseRows:
        """What the warehouse keeps."""
        assert self.warehouse_rows is not None
        return self.warehouse_rows
