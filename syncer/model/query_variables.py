"""Which variables of the environment a query may read, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from syncer.model.spelling import quoted

SETTING = "SYNCER_QUERY_VARIABLES"

#: A name, or a prefix that ends in `*`.
PATTERN = r"[A-Za-z_][A-Za-z0-9_]*\*?"

_SYNCER = "SYNCER_"

#: In upper case: credentials that drivers and their libraries read by themselves.
_CREDENTIAL = re.compile(
    r"(PG|MYSQL_|MARIADB_|AWS_|GOOGLE_|GCLOUD_|CLOUDSDK_|BIGQUERY_|AZURE_|SNOWFLAKE_|REDSHIFT_|MOTHERDUCK_|DUCKDB_"
    r"|CLICKHOUSE_|DATABRICKS_|ORACLE_|MSSQL_|SQLCMD|TRINO_)\w*(PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|AUTH|SERVICEFILE)\w*"
    r"|(HTTP|HTTPS|ALL)_PROXY"
)

#: A secret with fewer characters may be in a value by chance.
_SECRET_LENGTH = 8


class Refusal(NamedTuple):
    """Why a query cannot read a variable, and what to do."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryVariables:
    """The variables that `{{ env_var('X') }}` may read."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Names, and prefixes that end in `*`.
    allowed: tuple[str, ...] = ()
    #: What no value may hold: the secrets of Syncer's settings.
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def refusal(self, name: str) -> Refusal | None:
        """Why a query cannot read a variable, whether it is set or not; None if it can."""
        if reason := forbidden(name):
            return Refusal(f"a query can never read {quoted(name)}: {reason}", _OTHERWISE)
        if not any(_matches(name, pattern) for pattern in self.allowed):
            hint = f"Add {quoted(name)} to {quoted(SETTING)}, which names the variables that queries may read."
            return Refusal(f"queries may not read the variable {quoted(name)}", hint)
        value = self.environment.get(name, "")
        if any(secret in value for secret in self.secrets if len(secret) >= _SECRET_LENGTH):
            reason = "its value contains a secret of Syncer's settings"
            return Refusal(f"a query can never read {quoted(name)}: {reason}", _OTHERWISE)
        return None

    def readable(self) -> Mapping[str, str]:
        """The values of the variables that are set and can be read, by name."""
        return {name: value for name, value in self.environment.items() if self.refusal(name) is None}


_OTHERWISE = "A query gets its own values from `var`, which reads the settings `SYNCER_VARS__…`."


def forbidden(name: str) -> str:
    """Why no setting can let queries read a variable; empty if one can."""
    if name.upper().startswith(_SYNCER):
        return "it is a setting of Syncer"
    if _CREDENTIAL.fullmatch(name.upper()):
        return "it is a credential of a driver"
    return ""


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
