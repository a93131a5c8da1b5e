"""The settings: read once at start from the environment, `.env` and `syncer.toml`, checked as a whole, then frozen."""

from __future__ import annotations

import io
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from dotenv.parser import parse_stream
from pydantic import AfterValidator, ByteSize, Field, PrivateAttr, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from syncer.model.connectors import matching
from syncer.model.errors import SettingsError
from syncer.model.memory import DEFAULT
from syncer.model.query_variables import PATTERN, forbidden
from syncer.settings.containers import is_set_by_cluster, memory_size
from syncer.settings.problems import NESTED, PREFIX, TOML, explained, no_setting
from syncer.settings.registry import GROUPS, StoreSettings, Url, WarehouseSettings, Words, beside, in_url
from syncer.settings.service import SECTIONS, AlertSettings, LogLevel, WebSettings
from syncer.settings.snapshots import Login, Place, SnapshotSettings
from syncer.settings.workers import Runs, RunsBy

_DOTENV = ".env"

_NAME_RULE = "a name is 1 to 63 of the characters `a-z 0-9 _ -` and starts with one of `a-z 0-9`"
_ConnectionName = Annotated[str, matching("[a-z0-9][a-z0-9_-]{0,62}", _NAME_RULE)]


#: With less, not even the program and its libraries fit.
_LEAST_MEMORY = 128_000_000


def _enough(size: ByteSize) -> ByteSize:
    if size < _LEAST_MEMORY:
        raise ValueError(f"should be at least {_LEAST_MEMORY // 10**6}MB")
    return size


def _readable(names: list[str]) -> list[str]:
    for name in names:
        if not re.fullmatch(PATTERN, name):
            raise ValueError("should be names of variables, or prefixes such as `SHOP_*`")
        if reason := forbidden(name.removesuffix("*")):
            raise ValueError(f"names a variable that no query may read: {reason}")
    return names


class Settings(BaseSettings):
    """Every setting; paths start at the working folder."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,
    )

    definitions_dir: Path = Field(default=Path("sync_definitions"), description="the folder of the definitions")
    state_dir: Path = Field(
        default=Path(".syncer"),
        description="the folder of snapshots, run log and default store. Only its owner may read it, and its group if "
        "that may write it",
    )
    database_url: Url = Field(
        description="the run log: `sqlite:///file`, or `postgresql://…` if several machines run syncs. "
        "Default: SQLite in the state folder"
    )
    snapshots_url: Place | None = Field(
        default=None,
        description="[where snapshots are kept](production.md#where-snapshots-are-kept) that several machines share: "
        "`database` (that of the run log), `s3://…`, `gs://…`, `az://…` or `file:///…`. Default: the state folder",
    )
    snapshots: Login = SnapshotSettings()
    runs: Runs = Field(
        default=RunsBy.SERVICE,
        description="who makes the runs of the schedule: `service`, or [`workers`](production.md#workers)",
    )
    warehouses: dict[_ConnectionName, WarehouseSettings] = Field(
        description="a [warehouse](warehouses.md). Default for the name `default`: "
        "`duckdb:///sync_definitions/sample_data`"
    )
    stores: dict[_ConnectionName, StoreSettings] = Field(
        description="a [store](stores.md). Default for the name `default`: `sqlite:///.syncer/profiles.db`"
    )
    vars: Annotated[
        dict[str, str], AfterValidator(lambda found: {name.lower(): value for name, value in found.items()})
    ] = Field(default={}, repr=False, description="the value of `{{ var('name') }}` in queries")
    query_variables: Annotated[Words, AfterValidator(_readable)] = Field(
        default=[],
        description="the [variables of the environment](writing-a-sync.md#templates) that queries may read: names, or "
        "prefixes such as `SHOP_*`, separated by commas. Never one of Syncer, nor a credential of a connection",
    )
    pool_size: int = Field(default=4, ge=1, le=64, description="how many syncs the service runs at a time")
    memory_limit: Annotated[ByteSize, AfterValidator(_enough)] | None = Field(
        default=None,
        description="how much [memory](production.md#memory) the process may use, such as `512MB` or `2GB`. Default: "
        "half of what the machine or the container has, at most 2 GB",
    )
    jitter: int = Field(default=60, ge=0, le=3600, description="the most seconds by which the service delays each sync")
    grace: int = Field(default=30, ge=0, le=3600, description="how many seconds a stopping service waits for its runs")
    keep_runs: int = Field(
        default=90,
        ge=1,
        le=36500,
        description="how many days to keep runs, removals and snapshots that were moved aside. The newest run of each "
        "sync stays",
    )
    keep_plans: float = Field(
        default=1, gt=0, le=365, description="how many days to keep plans that were [saved](writing-a-sync.md#limits)"
    )
    log_level: LogLevel = Field(
        default=LogLevel.INFO,
        description="what the service [logs](monitoring.md#logs): `debug`, `info`, `warning` or `error`",
    )
    web: WebSettings = WebSettings()
    alerts: AlertSettings = AlertSettings()
    _environment: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(sources=sources)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of the process, and what `.env` adds."""
        return self._environment

    @property
    def memory_bytes(self) -> int:
        """The limit of the process's memory."""
        return self.memory_limit or min(DEFAULT, max(memory_size() // 2, _LEAST_MEMORY))

    @property
    def snapshots_dir(self) -> Path:
        """The folder of the snapshots: in the state folder, or in the user's own if a `?` is in its path.

        DuckDB takes what follows a `?` for options, and would put its write-ahead log elsewhere.
        """
        folder = self.state_dir.resolve()
        if "?" not in str(folder):
            return self.state_dir / "snapshots"
        name = sha256(os.fsencode(folder)).hexdigest()[:16]
        home = self._environment.get("XDG_STATE_HOME") or Path(self._environment.get("HOME", "/"), ".local/state")
        return Path(home, "syncer", f"snapshots-{name}")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What was handed in, strongest first, then the defaults."""
        assert isinstance(init_settings, InitSettingsSource)
        return *init_settings.init_kwargs["sources"], _Defaults(settings_cls, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variable:
    #: The name as written, and where, but for the environment.
    label: str
    #: Perhaps the text of a file that the variable names.
    value: str = field(repr=False)


class _Variables(EnvSettingsSource):
    """Variables that were collected, in place of the process's own."""

    def __init__(self, variables: Mapping[str, _Variable]) -> None:
        self._collected = variables
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: variable.value for name, variable in self._collected.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """Leave the text of a connector's setting as it is, which the connector decodes, and what is no JSON."""
        with suppress(ValueError):
            return value if field is None else super().decode_complex_value(field_name, field, value)
        return value


class _Defaults(InitSettingsSource):
    """What lies in the state folder, and the connections called `default`."""

    def __call__(self) -> dict[str, Any]:
        """Their URLs."""
        state_dir = in_url(self.current_state.get("state_dir", Settings.model_fields["state_dir"].default))
        return {
            "database_url": f"sqlite:///{state_dir}/runs.db",
            "warehouses": {"default": {"url": "duckdb:///sync_definitions/sample_data"}},
            "stores": {"default": {"url": f"sqlite:///{state_dir}/profiles.db"}},
        }


def load(working_dir: Path, environment: Mapping[str, str]) -> Settings:
    """Read and check every setting.

    Shapes:
        working_dir: holds `.env` and `syncer.toml`, where there are such; relative paths start here.
        environment: the process's variables; stronger than `.env`, which is stronger than `syncer.toml`.
    Raises:
        SettingsError: with every problem, a line each, which names the setting and never its value.
    """
    #: The label of a setting to the first problem found with it.
    problems: dict[str, str] = {}
    dotenv = _read_dotenv(working_dir / _DOTENV, problems)
    variables = {
        **_collected(dotenv, working_dir, problems, origin=f" in {_DOTENV}"),
        **_collected(environment, working_dir, problems),
    }
    for name in [name for name in variables if not _is_setting(_path(name))]:
        unknown = variables.pop(name)
        if not is_set_by_cluster(name.upper(), unknown.value):
            problems.setdefault(unknown.label, no_setting(_path(name), Settings.model_fields))
    table = _read_toml(working_dir / TOML, problems)
    settings = None
    try:
        settings = Settings(_Variables(variables), InitSettingsSource(Settings, table))
    except ValidationError as error:
        labels = {name: variable.label for name, variable in variables.items()}
        for label, text in explained(error, labels, table, Settings):
            problems.setdefault(label, text)
    if problems or settings is None:
        raise SettingsError("\n".join(f"{label}: {text}" for label, text in problems.items()))
    placed = settings.model_copy(
        update={
            "definitions_dir": working_dir / settings.definitions_dir,
            "state_dir": working_dir / settings.state_dir,
            "database_url": SecretStr(beside(settings.database_url.get_secret_value(), working_dir)),
            "warehouses": {name: one.in_folder(working_dir) for name, one in settings.warehouses.items()},
            "stores": {name: one.in_folder(working_dir) for name, one in settings.stores.items()},
        }
    )
    placed._environment = {**dotenv, **environment}
    return placed


def _is_setting(path: Sequence[str]) -> bool:
    """Whether there is such a setting, as far as its first part shows."""
    return path[0] in Settings.model_fields and (len(path) > 1) == (path[0] in NESTED)


def _may_be_file(path: Sequence[str]) -> bool:
    """Whether a variable may name a file with the value of this setting."""
    match path:
        case ["database_url"] | ["web", "tokens", _, "token"] | ["web", "people", _, "password"]:
            return True
        case ["web", "oidc", "client_secret"] | ["alerts", "owners", _]:
            return True
        case ["warehouses" | "stores" as group, _, setting]:
            return setting in GROUPS[group].names()
        case [section, setting] if section in SECTIONS:
            return "Secret" in str(SECTIONS[section].model_fields.get(setting))
        case _:
            return False


def _path(name: str) -> list[str]:
    return name.removeprefix(PREFIX.lower()).split("__")


def _read_dotenv(path: Path, problems: dict[str, str]) -> dict[str, str]:
    """The variables that a `.env` file sets; none if there is no such file. `${X}` in a value stays as it is."""
    text = _read(path, problems)
    found = {}
    for line in parse_stream(io.StringIO(text or "")):
        if line.error:
            blank = len(line.original.string) - len(line.original.string.lstrip("\r\n"))
            problems.setdefault(f"{path.name} line {line.original.line + blank}", "expected NAME=VALUE")
        elif line.key is not None and line.value is not None:
            found[line.key] = line.value
    return found


def _read_toml(path: Path, problems: dict[str, str]) -> dict[str, Any]:
    """What a TOML file holds; nothing if there is no such file."""
    try:
        return tomllib.loads(_read(path, problems) or "")
    except tomllib.TOMLDecodeError as error:
        problems.setdefault(path.name, f"is not TOML: {error}")
        return {}


def _collected(
    environment: Mapping[str, str], folder: Path, problems: dict[str, str], *, origin: str = ""
) -> dict[str, _Variable]:
    """The variables with the prefix, by their names in lower case; empty ones count as not set, but for `vars`.

    Shapes:
        folder: where the paths start that variables in `_FILE` name.
        origin: what labels say beside the name.
    """
    found: dict[str, _Variable] = {}
    for written, value in environment.items():
        name, label = written.lower(), f"{written}{origin}"
        if not name.startswith(PREFIX.lower()):
            continue
        if not value and not name.startswith(f"{PREFIX}VARS__".lower()):
            continue
        if name.endswith("_file") and _may_be_file(_path(name.removesuffix("_file"))):
            name, value = name.removesuffix("_file"), _secret(folder / value, label, problems)
        if name in found:
            problems.setdefault(label, f"is set beside {found[name].label}; set only one of the two")
        found[name] = _Variable(label=label, value=value)
    return found


def _secret(path: Path, label: str, problems: dict[str, str]) -> str:
    text = _read(path, problems, label=label, required=True)
    if text is not None and not text.strip():
        problems.setdefault(label, "the file it names is empty")
    return (text or "").rstrip("\r\n")


def _read(path: Path, problems: dict[str, str], *, label: str = "", required: bool = False) -> str | None:
    of_label = "the file it names " if label else ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if required:
            problems.setdefault(label, f"{of_label}does not exist")
    except UnicodeDecodeError:
        problems.setdefault(label or path.name, f"{of_label}is not UTF-8 text")
    except (OSError, ValueError) as error:
        # The whole text of the error holds the path, which is the value of the setting.
        reason = error.strerror if isinstance(error, OSError) else "its name is not valid"
        problems.setdefault(label or path.name, f"{of_label}cannot be read: {reason}")
    return None
