"""Looks things up in the stores, for who asks why a person or an object is as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from syncer.model.errors import StateDatabaseError, SyncerError
from syncer.model.spelling import identifier
from syncer.model.types import PersonKey, Rejection, SyncDefinition
from syncer.settings.settings import Settings
from syncer.state.runs import RunLog
from syncer.sync import stored
from syncer.sync.stored import Sought, Stored

#: Rejected rows that a search shows at the most.
_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came upon."""

    #: The people and objects that stores hold, of the identifier that was typed.
    things: Sequence[Sought]
    #: The rows refused now whose key has the text in it, each with its sync.
    refused: Sequence[tuple[SyncDefinition, Rejection]]
    #: The syncs whose names have the text in them.
    syncs: Sequence[SyncDefinition]
    #: Why some store was not asked.
    faults: Sequence[SyncerError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What is needed to look things up."""

    settings: Settings
    run_log: RunLog
    #: By name.
    definitions: Mapping[str, SyncDefinition]

    def look(self, sought: Sought) -> tuple[Stored, SyncerError | None]:
        """What the store, the definitions and the run log know of one thing; why the store was not asked, if so."""
        definitions = self.definitions.values()
        try:
            with closing(self.settings.stores[sought.store].open(sought.store)) as opened:
                return stored.look(sought, opened, definitions, self.run_log), None
        except StateDatabaseError:
            raise
        except SyncerError as exc:
            return stored.around(sought, None, definitions, self.run_log), exc

    def find(self, text: str) -> Found:
        """The people, objects, rejected rows and syncs of an identifier or a part of a name; *text* is not empty."""
        things: list[Sought] = []
        faults: list[SyncerError] = []
        for store in self.settings.stores:
            try:
                things += self._held(store, text)
            except SyncerError as exc:
                faults.append(exc)
        rows = self.run_log.rejections_with(identifier(text), _SHOWN)
        return Found(
            things=things,
            refused=[(self.definitions[row.sync], row) for row in rows if row.sync in self.definitions],
            syncs=[sync for name, sync in self.definitions.items() if text.strip().lower() in name],
            faults=faults,
        )

    def _held(self, store: str, text: str) -> list[Sought]:
        keys = (PersonKey.ID, PersonKey.EMAIL) if "@" in text else (PersonKey.ID,)
        stores, definitions = self.settings.stores, list(self.definitions.values())
        wanted = [stored.person(stores, store, text, key) for key in keys]
        wanted += [stored.one_object(stores, store, kind, text) for kind in stored.object_types(definitions, store)]
        with closing(self.settings.stores[store].open(store)) as opened:
            return [sought for sought in wanted if opened.show(sought.entity, sought.kind, sought.value) is not None]
