"""The variables that Docker links and Kubernetes set in every container for a service called `syncer` or `syncer-…`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAMES = re.compile(
    r"SYNCER_PORT|SYNCER(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
#: Also the name of a setting in which an underscore was forgotten; the value tells.
_PORT, _PORT_VALUE = re.compile(r"SYNCER(_[A-Z0-9]+)+_PORT"), re.compile(r"(tcp|udp|sctp)://.*")


def set_by_cluster(variables: Mapping[str, str]) -> list[str]:
    """The names of such variables, sorted; none of them is a setting."""
    return sorted(name for name, value in variables.items() if is_set_by_cluster(name, value))


def is_set_by_cluster(name: str, value: str) -> bool:
    """Whether a variable is one of them."""
    return bool(_NAMES.fullmatch(name) or (_PORT.fullmatch(name) and _PORT_VALUE.fullmatch(value)))
