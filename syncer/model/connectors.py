"""What a connector declares: the URLs that it opens, the settings beside them, and where its class is.

A declaration is what an entry point names, in the group `syncer.warehouses` or `syncer.stores`. Its module imports no
driver: every declaration is read when the settings are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from syncer.model.importing import importing
from syncer.model.types import Identity, Target

#: The scheme of the warehouse that opens every URL that no other one does.
ANY_OTHER = "*"


class Options(BaseModel):
    """The settings of a connection beside its URL. Secrets are SecretStr, so that no text shows them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """What warehouses and stores declare."""

    #: Of its URLs, without `+driver`; messages use the first.
    schemes: tuple[str, ...]
    #: The class that opens one, as `module:Class`, imported on use.
    opened_by: str
    options: type[Options] = Options
    #: Of `pip install 'syncer[…]'`, which installs its driver; empty where there is nothing to install.
    extra: str = ""
    #: Whether the URL is the path of a file or folder; a relative one starts at the working folder.
    is_file: bool = False

    def load(self) -> Any:
        """The class, whose driver may be missing."""
        return _imported(self.opened_by)


def information_schema(
    is_default: str, *, column_type: str = "data_type", columns: str = "information_schema.columns"
) -> str:
    """The SELECT that lists the columns of tables where `information_schema` has them; see WarehouseConnector.

    Shapes:
        is_default: SQL, whether a query may name the table without its schema.
        column_type: SQL, the column's type.
    """
    return (
        f"SELECT table_schema, table_name, column_name, {column_type}, CASE WHEN {is_default} THEN 1 ELSE 0 END\n"
        f"FROM {columns}\n"
        "WHERE lower(table_schema) NOT IN ('information_schema', 'pg_catalog', 'mysql', 'performance_schema', 'sys')\n"
        "ORDER BY table_schema, table_name, ordinal_position"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WarehouseConnector(Connector):
    """A kind of warehouse.

    Its class is a Warehouse and is called with `name, url, options=…, sync=…`: what messages call the connection, and
    the sync whose query it will be or an empty text.
    """

    #: Scheme to sqlglot's name of its SQL, where that is another one.
    dialects: Mapping[str, str] = field(default_factory=dict)
    #: Scheme to the SELECT that lists the columns of every table that a login may read, in their order, for editors:
    #: schema, table, column, type (NULL where only the table's rows tell), and 1 where a query may name the table
    #: without its schema. `{database}` stands for the URL's.
    listings: Mapping[str, str] = field(default_factory=dict)
    #: The class that keeps the rows of snapshots there (see `kept_rows.KeepsRows`), as `module:Class`, imported on use;
    #: empty where none does. It is called with `name, url, keeper_url, tables=…, keys=…`, and the options have a
    #: `keeper_url`.
    kept_by: str = ""

    def load_keeper(self) -> Any:
        """The class of `kept_by`."""
        return _imported(self.kept_by)

    def listing_of(self, url: str) -> str:
        """The SELECT that lists the tables of *url*; see `listings`."""
        select = self.listings.get(scheme_of(url)) or information_schema("table_schema = current_schema()")
        database = urlsplit(url).path.strip("/")
        return select.replace("{database}", unquote(database).replace("`", ""))

    def dialect_of(self, url: str) -> str:
        """sqlglot's name for the SQL of *url*; sqlglot may know no dialect of this name."""
        scheme = scheme_of(url)
        return self.dialects.get(scheme, scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConnector(Connector):
    """A kind of profile store.

    Its class is a ProfileStore and is called with `name, url, identity=…, options=…, started_at=…`: the start of the
    run, aware, as of which its values count; None for now.
    """

    #: What says what the settings alone make a store refuse, as `module:function`, imported on use; it needs no driver,
    #: is called with `name, target, create=…, identity=…, options=…`, and raises as `ProfileStore.check` does.
    checked_by: str = ""
    #: Whether its owner pays for each person, so that a query that creates too many costs money.
    bills_people: bool = False
    #: Whether it says how many people it has (see `CountsPeople`), so that a limit can be a share of them.
    counts_people: bool = False
    #: Whether a collection may be replaced as a whole (see `ReplacesCollections`), so that no two syncs can share it.
    replaces_collections: bool = False
    #: Whether a person may get another email where people are known by it. A batch of a target that `names_previous`
    #: has a column `previous` too, in its puts: the email by which the person was known before, spelled as a key, or
    #: NULL; it is no key of the batch, and in no other row. Where the key is nobody's, an accepted `put` lets whoever
    #: has that email have the key in its place, in one transaction with the rest of the row. Else it changes nothing.
    moves_people: bool = False

    def check(self, name: str, target: Target, *, create: bool, identity: Identity, options: Options) -> None:
        """Raise StoreRefusesError if a store of these settings can never be fed *target*."""
        if self.checked_by:
            _imported(self.checked_by)(name, target, create=create, identity=identity, options=options)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    with importing:
        return getattr(import_module(module), name)


def file_of(url: str) -> Path | None:
    """The path in the URL of a file or folder, decoded: `%20` is a blank. None if it names none.

    A file whose own name is spelled so is meant if only that one exists.
    """
    written = re.sub(r"^[^:]+:/{0,3}", "", url)
    if not written:
        return None
    path, as_written = Path(unquote(written)), Path(written)
    try:
        return as_written if as_written.exists() and not path.exists() else path
    except OSError:
        # Whoever opens it learns the same.
        return path


def matching(pattern: str, rule: str) -> AfterValidator:
    """A check of a text setting, for Annotated; *rule* is its error, "should be …"."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(rule)
        return value

    return AfterValidator(check)


def revealed(secret: SecretStr | None) -> str:
    """A secret's text; empty where there is none."""
    return "" if secret is None else secret.get_secret_value()


def scheme_of(url: str) -> str:
    """The scheme of *url*, without `+driver`."""
    return url.partition(":")[0].partition("+")[0].lower()
