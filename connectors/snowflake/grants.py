"""Whether a role of Snowflake's could write, by what was granted to it and to the roles within it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

#: Privilege, the kind of thing it is on, and the thing's name.
Grant = tuple[str, str, str]

_WRITING = {"INSERT", "UPDATE", "DELETE", "TRUNCATE", "WRITE", "EVOLVE SCHEMA", "ALL", "ALL PRIVILEGES"}
#: Every user has it.
_EVERYBODY = "PUBLIC"


def power(role: str, grants: Callable[[str], Iterable[Grant]]) -> str:
    """What *role* could write, as the rest of a sentence about it; empty for one that only reads.

    Shapes:
        grants: what was granted to a role, as `SHOW GRANTS TO ROLE` tells it.
    """
    found, waiting = {role}, [role, _EVERYBODY]
    while waiting:
        for privilege, kind, name in grants(waiting.pop()):
            if said := _said(privilege, kind, name):
                return said
            if kind == "ROLE" and name not in found:
                found.add(name)
                waiting.append(name)
    return ""


def _said(privilege: str, kind: str, name: str) -> str:
    thing = f"{kind.lower().replace('_', ' ')} {name}"
    if privilege == "OWNERSHIP":
        return f"owns the {thing}"
    if privilege in _WRITING:
        return f"has {privilege} on the {thing}"
    if privilege.startswith("CREATE ") or privilege == "MANAGE GRANTS":
        return f"has {privilege} on the {thing}"
    return ""
