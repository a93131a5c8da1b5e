"""Keys as people type them, in their parts."""

from __future__ import annotations

import json

from syncer.model.types import SyncDefinition, Target


def key_parts(sync: SyncDefinition, key: str) -> list[str]:
    """A rejected row's key, a text for each column; blank ones where it has none."""
    columns = len(sync.target.key_columns)
    found = [key] if columns == 1 else parts(key)
    return found if len(found) == columns else [""] * columns


def key_of_event(target: Target, name: str, key: str) -> list[str]:
    """The key of an event of a name, which is the last part where a column has it; empty if the parts are too few."""
    columns, has_name = len(target.key_columns), bool(target.events.column)
    found = [key] if columns - has_name == 1 else parts(key)
    found += [name] if has_name else []
    return found if len(found) == columns else []


def parts(text: str) -> list[str]:
    """The parts of a JSON array; empty if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [str(part) for part in found] if isinstance(found, list) else []
