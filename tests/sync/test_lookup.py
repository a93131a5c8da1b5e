"""What a search says of stores that it cannot read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from syncer.model.types import Entity, PersonKey, SyncDefinition, Target
from syncer.settings import settings
from syncer.state.database import StateDatabase
from syncer.state.runs import RunLog
from syncer.sync.lookup import Lookup

PEOPLE = SyncDefinition(
    name="people",
    path=Path("people.sql"),
    sql="SELECT 1",
    sql_line=1,
    target=Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",)),
    store="used",
)


def test_a_store_that_cannot_be_read_is_a_fault_only_if_a_sync_feeds_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broken = f"sqlite:///{tmp_path}/file/profiles.db"
    urls = {"DEFAULT": f"sqlite:///{tmp_path}/profiles.db", "USED": broken, "OLD": broken}
    found = settings.load(tmp_path, {f"SYNCER_STORES__{name}__URL": url for name, url in urls.items()})

    with closing(StateDatabase(f"sqlite:///{tmp_path}/runs.db")) as database:
        searched = Lookup(settings=found, run_log=RunLog(database), definitions={"people": PEOPLE}).find("1")

    (fault,) = searched.faults
    assert "`used`" in str(fault)
    assert searched.unread == ["old"]
