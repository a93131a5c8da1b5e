"""Drivers that are extras of this package, imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from syncer.model.connectors import importing
from syncer.model.errors import SettingsError


def driver(module: str, *, extra: str, label: str) -> Any:
    """The module of a driver.

    Shapes:
        extra: of `pip install 'syncer[…]'`.
        label: the connection that needs it, such as "warehouse `crm`".
    Raises:
        SettingsError: it is not installed.
    """
    try:
        with importing:
            return import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        raise SettingsError(
            f"{label}: its driver is not installed", hint=f"Install it with `pip install 'syncer[{extra}]'`."
        ) from None
