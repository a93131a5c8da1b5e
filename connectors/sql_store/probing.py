"""Whether a store answers, and whether its login may write: it is written, and what was written is undone."""

from __future__ import annotations

import pyarrow as pa

from connectors.sql_store import entities
from connectors.sql_store.database import StoreDatabase
from connectors.sql_store.staging import staged_keys
from syncer.model.errors import StoreError
from syncer.model.types import Entity, Identity, PersonKey, Probe, Target

_NOBODY = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",))


class ProbedStore(StoreDatabase):
    """A store that can be tried out; see `Probing` and `TriesWriting`."""

    def probe(self) -> Probe:
        """See `Probing`."""
        ((version,),) = self._fetch(self.dialect.version)
        fault, note = self.write_fault(), f"Its identity is `{self.identity}`."
        if self.is_new:
            note = f"It is made, with the identity `{self.identity}`, when a run sends the first row."
        return Probe(version=version, can_write=not fault, note=f"It cannot be written: {fault}" if fault else note)

    def write_fault(self) -> str:
        """See `TriesWriting`."""
        try:
            if self.is_new:
                self._try_to_make()
                return ""
            with self._transaction(commit=False):
                self._try_to_write()
        except StoreError as exc:
            return f"{exc.message}. {exc.hint}"
        return ""

    def _try_to_write(self) -> None:
        self._stage_keys(staged_keys(_NOBODY, pa.table({"k1": [""]}), Identity.ID))
        entities.write_nothing(self._execute, self._format)
