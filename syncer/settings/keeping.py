"""Which warehouses keep the rows of snapshots, and how their tables are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pydantic import SecretStr

from syncer.model.errors import WarehouseRefusesError
from syncer.model.snapshot_home import COMPARED
from syncer.model.spelling import listed
from syncer.model.types import SyncDefinition
from syncer.settings.registry import WarehouseSettings, connector_of, warehouses

if TYPE_CHECKING:
    from syncer.model.kept_rows import KeepsRows


def check(settings: WarehouseSettings, definition: SyncDefinition) -> None:
    """Raise WarehouseRefusesError if a warehouse cannot keep the rows of a sync that wants it."""
    if definition.snapshot is None:
        return
    name = definition.warehouse
    connector = connector_of(settings.url.get_secret_value(), warehouses())
    if connector is None or not connector.kept_by:
        keeping = sorted({one.schemes[0] for one in warehouses().values() if one.kept_by})
        raise WarehouseRefusesError(
            f"warehouse `{name}` keeps no snapshots",
            hint=f"Only a warehouse of {listed(keeping, last='or')} does. Remove `snapshot`.",
        )
    if _keeper(settings) is None:
        raise WarehouseRefusesError(
            f"warehouse `{name}` has no login that keeps snapshots",
            hint=f"Set SYNCER_WAREHOUSES__{name.upper()}__KEEPER_URL to one that owns a schema.",
        )
    if definition.target.entity not in COMPARED or definition.target.action is not None:
        raise WarehouseRefusesError(
            f"a warehouse keeps the snapshots of people, objects and relationships, and not of `{definition.name}`",
            hint="Remove `snapshot`.",
        )
    if definition.rules or definition.target.names_previous or definition.visitor_column:
        raise WarehouseRefusesError(
            "a sync with `previous` or `anonymous`, or with attributes in `attributes.yml`, keeps its snapshot itself",
            hint="Remove `snapshot`.",
        )


def open_tables(settings: WarehouseSettings, name: str, *, tables: str, keys: int) -> KeepsRows | None:
    """The tables of a snapshot in the warehouse called *name*, to be closed by the caller; None where it keeps none.

    Shapes:
        tables, keys: as `WarehouseConnector.kept_by` takes them.
    Raises:
        WarehouseError: the keeper cannot be connected.
    """
    connector, keeper = connector_of(settings.url.get_secret_value(), warehouses()), _keeper(settings)
    if connector is None or not connector.kept_by or keeper is None:
        return None
    url = settings.url.get_secret_value()
    return cast("KeepsRows", connector.load_keeper()(name, url, keeper.get_secret_value(), tables=tables, keys=keys))


def _keeper(settings: WarehouseSettings) -> SecretStr | None:
    return getattr(settings.options, "keeper_url", None)
