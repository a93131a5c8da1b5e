"""Where the objects of shared snapshots are kept."""

from __future__ import annotations

from syncer.model.errors import SettingsError
from syncer.model.importing import importing
from syncer.settings.settings import Settings
from syncer.settings.snapshots import DATABASE, parsed
from syncer.shared.place import SETTING, Place, Placed
from syncer.state.database import StateDatabase

__all__ = ["Place", "Placed", "open_place"]


def open_place(url: str, settings: Settings, database: StateDatabase) -> Place:
    """The place of a URL, or `database`; only a folder is looked at, and made if it is missing.

    Shapes:
        url: as `Settings.snapshots_url` or `Place.name`.
        settings: has the login, and the variables that a cloud's login may be in.
        database: the run log, where the place is `database`.
    Raises:
        SettingsError: no place has such a URL, it has no login that could be tried, or a package is not installed.
        PlaceError: the folder cannot be used.
    """
    if url == DATABASE:
        from syncer.shared.database_place import DatabasePlace

        return DatabasePlace(database)
    try:
        place_url = parsed(url)
    except ValueError as exc:
        raise SettingsError(f"{SETTING}: {exc}") from None
    if place_url.scheme == "file":
        from syncer.shared.folder_place import FolderPlace

        return FolderPlace(place_url)
    with importing:
        from syncer.shared.object_store import ObjectStore

    return ObjectStore(place_url, settings)
