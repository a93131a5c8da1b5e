"""The settings: read once at start from the environment, `.env` and `syncer.toml`, checked as a whole, then frozen."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, SecretStr, StringConstraints, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from syncer.model.errors import SettingsError
from syncer.model.spelling import closest
from syncer.settings import service
from syncer.settings import url as connection_url
from syncer.settings.connections import OPTIONS, ConnectionSettings, StoreSettings, Url, WarehouseSettings
from syncer.settings.service import SECTIONS, AlertSettings, LogLevel, WebSettings
from syncer.settings.sources import PREFIX, Variable, collect, read_dotenv, read_toml

_TOML = "syncer.toml"
_DOTENV = ".env"


_NAME_RULE = "a name is 1 to 63 of the characters `a-z 0-9 _ -` and starts with one of `a-z 0-9`"
_ConnectionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the environment has a say in; paths start at the working folder."""

    definitions_dir: Path
    state_dir: Path
    #: Of the run log.
    database_url: SecretStr
    #: By name; `default` is always there.
    warehouses: Mapping[str, WarehouseSettings]
    #: By name; `default` is always there.
    stores: Mapping[str, StoreSettings]
    #: Runs that a service makes side by side.
    pool_size: int
    #: By how much a service puts off each sync's ticks, at the most.
    jitter: timedelta
    #: How long a service that is told to stop waits for its runs.
    grace: timedelta
    #: How long a service keeps runs in the run log.
    keep_runs: timedelta
    log_level: LogLevel
    web: WebSettings
    alerts: AlertSettings
    #: For `{{ var('x') }}`, names in lower case.
    vars: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: For `{{ env_var('X') }}`: the process's variables, and what `.env` adds.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def load(working_dir: Path, environment: Mapping[str, str]) -> Settings:
    """Read and check every setting.

    Shapes:
        working_dir: holds `.env` and `syncer.toml`, where there are such; relative paths start here.
        environment: the process's variables; stronger than `.env`, which is stronger than `syncer.toml`.
    Raises:
        SettingsError: with every problem, a line each, which names the setting and never its value.
    """
    problems: dict[str, str] = {}
    dotenv = read_dotenv(working_dir / _DOTENV, problems)
    variables = {
        **collect(dotenv, working_dir, _may_be_file, problems, origin=f" in {_DOTENV}"),
        **collect(environment, working_dir, _may_be_file, problems),
    }
    _take_out_unknown(variables, problems)
    table = read_toml(working_dir / _TOML, problems)
    fields = None
    try:
        fields = Fields(_Variables(variables), InitSettingsSource(Fields, table))
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            label, path = _place(detail, variables, table)
            problems.setdefault(label, _explanation(detail, path))
    if problems or fields is None:
        raise SettingsError("\n".join(f"{label}: {text}" for label, text in problems.items()))
    return _settings(fields, working_dir, {**dotenv, **environment})


def make_state_dir(settings: Settings) -> None:
    """Make the state folder, which only its owner may enter.

    Raises:
        SettingsError: there is something else of this name, or it is another user's, or it cannot be written.
    """
    path, name = settings.state_dir, f"{PREFIX}STATE_DIR"
    own = f"Set {name} to a folder of this user's own; one inside it is made where that is allowed."
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except (FileExistsError, NotADirectoryError):
        raise SettingsError(f"{name}: {path} is not a folder", hint=f"Move it away, or set {name}.") from None
    except OSError as error:
        raise SettingsError(f"{name}: {path} cannot be made: {error.strerror}", hint=own) from error
    if os.name == "posix" and found.st_uid != os.geteuid():
        raise SettingsError(f"{name}: {path} belongs to another user", hint=own)
    if not os.access(path, os.W_OK | os.X_OK):
        raise SettingsError(f"{name}: {path} cannot be written", hint=own)
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)


class Fields(BaseSettings):
    """The settings as they are written; made from sources, the strongest first."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,
    )

    definitions_dir: Path = Field(default=Path("sync_definitions"), description="the folder of the definitions")
    state_dir: Path = Field(
        default=Path(".syncer"),
        description="the folder of snapshots, run log and default store. Only its owner may enter it",
    )
    database_url: Url | None = Field(
        default=None,
        description="the run log: `sqlite:///file`, or `postgresql://…` if several machines run syncs. "
        "Default: SQLite in the state folder",
    )
    warehouses: dict[_ConnectionName, WarehouseSettings] = Field(
        description="a [warehouse](warehouses.md). Default for the name `default`: "
        "`duckdb:///sync_definitions/sample_data`"
    )
    stores: dict[_ConnectionName, StoreSettings] = Field(
        description="a [store](stores.md). Default for the name `default`: `sqlite:///.syncer/profiles.db`"
    )
    vars: dict[str, str] = Field(default={}, description="the value of `{{ var('name') }}` in queries")
    pool_size: int = Field(
        default=service.POOL_SIZE, ge=1, le=64, description="how many syncs the service runs at a time"
    )
    jitter: int = Field(
        default=int(service.JITTER.total_seconds()),
        ge=0,
        le=3600,
        description="the most seconds by which the service delays each sync",
    )
    grace: int = Field(
        default=int(service.GRACE.total_seconds()),
        ge=0,
        le=3600,
        description="how many seconds a stopping service waits for its runs",
    )
    keep_runs: int = Field(
        default=service.KEEP_RUNS.days,
        ge=1,
        le=36500,
        description="how many days the service keeps runs in the run log. The newest run of each sync stays",
    )
    log_level: LogLevel = Field(
        default=LogLevel.INFO,
        description="what the service [logs](monitoring.md#logs): `debug`, `info`, `warning` or `error`",
    )
    web: WebSettings = WebSettings()
    alerts: AlertSettings = AlertSettings()

    def __init__(self, *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(sources=sources)

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


class _Variables(EnvSettingsSource):
    """Variables that were collected, in place of the process's own."""

    def __init__(self, variables: Mapping[str, Variable]) -> None:
        self._collected = variables
        super().__init__(Fields)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: variable.value for name, variable in self._collected.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """Leave a text that belongs to no field of ours as it is: what it means is its connector's to say."""
        return value if field is None else super().decode_complex_value(field_name, field, value)


class _Defaults(InitSettingsSource):
    """The connections called `default`, for what nothing else says of them."""

    def __call__(self) -> dict[str, Any]:
        """Their URLs; the store lies in the state folder."""
        state_dir = self.current_state.get("state_dir", Fields.model_fields["state_dir"].default)
        return {
            "warehouses": {"default": {"url": "duckdb:///sync_definitions/sample_data"}},
            "stores": {"default": {"url": f"sqlite:///{state_dir}/profiles.db"}},
        }


#: The settings that hold several of a kind, and what each of the kind is; a variable of one's own is text.
_GROUPS: Mapping[str, type[ConnectionSettings] | None] = {
    "warehouses": WarehouseSettings,
    "stores": StoreSettings,
    "vars": None,
}


def _may_be_file(name: str) -> bool:
    group, *rest = _path(name)
    if group in SECTIONS:
        return _is_secret(SECTIONS[group], rest)
    model = _GROUPS.get(group)
    return group == "database_url" if model is None else len(rest) == 2 and rest[1] in model.names()


def _is_secret(section: type[BaseModel], path: list[str]) -> bool:
    """Whether a setting of a section is one that should not be in the open."""
    if section is WebSettings and path[:1] == ["tokens"]:
        return path[2:] == ["token"]
    return len(path) == 1 and path[0] in section.model_fields and "Secret" in str(section.model_fields[path[0]])


def _take_out_unknown(variables: dict[str, Variable], problems: dict[str, str]) -> None:
    """Tell of the variables that no setting is called by; deeper ones are for the models to tell."""
    for name, variable in list(variables.items()):
        head, *rest = _path(name)
        if head in SECTIONS and not rest:
            problems.setdefault(variable.label, "is a group of settings, and has no value itself")
        elif head in _GROUPS and not rest:
            example = "__".join([PREFIX + head.upper(), "<NAME>", *(["URL"] if _GROUPS[head] else [])])
            problems.setdefault(variable.label, f"has no value itself; set {example}")
        elif head not in Fields.model_fields or (rest and head not in (*_GROUPS, *SECTIONS)):
            meant = closest(head, Fields.model_fields)
            suggestion = "__".join([meant, *(rest if meant in (*_GROUPS, *SECTIONS) else [])]).upper() if meant else ""
            hint = f"; did you mean {PREFIX}{suggestion}?" if suggestion else ""
            problems.setdefault(variable.label, f"is not a setting{hint}")
        else:
            continue
        del variables[name]


def _place(
    detail: ErrorDetails, variables: Mapping[str, Variable], table: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    """The label of the setting that an error is about, and its path."""
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    if path[0] in _GROUPS and path[2:3] == (OPTIONS,):
        path = path[:2] + path[3:]
    name = (PREFIX + "__".join(path)).lower()
    for written, variable in variables.items():
        if written == name or written.startswith(f"{name}__"):
            return variable.label, path
    found: Any = table
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return (name.upper() if found is None else f"{_TOML} {'.'.join(path)}"), path


def _explanation(detail: ErrorDetails, path: tuple[str, ...]) -> str:
    match detail["type"]:
        case "missing":
            return "is not set"
        case "extra_forbidden":
            group = _GROUPS.get(path[0])
            model = SECTIONS.get(path[0], Fields)
            meant = closest(path[-1], model.model_fields if group is None else group.names())
            return f"is not a setting{f'; did you mean `{meant}`?' if meant else ''}"
        case "string_pattern_mismatch":
            if path[0] in SECTIONS:
                return service.PATTERNS.get(path[1], _NAME_RULE)
            return _NAME_RULE if len(path) < 3 else _own_words(detail)
        case "model_type" | "dict_type":
            return "is a group of settings, such as its `url`, and has no value itself"
        case "too_short":
            return f"should have at least {detail['ctx']['min_length']} characters"
        case "value_error":
            return str(detail["ctx"]["error"])
        case _:
            return _own_words(detail)


def _own_words(detail: ErrorDetails) -> str:
    return detail["msg"].replace("Input should", "should").replace("String should", "should")


def _path(name: str) -> list[str]:
    return name.removeprefix(PREFIX.lower()).split("__")


_Connection = TypeVar("_Connection", bound=ConnectionSettings)


def _settings(fields: Fields, working_dir: Path, environment: dict[str, str]) -> Settings:
    def beside(url: SecretStr) -> SecretStr:
        return SecretStr(connection_url.beside(url.get_secret_value(), working_dir))

    def connections(found: dict[str, _Connection]) -> Mapping[str, _Connection]:
        return MappingProxyType({name: one.model_copy(update={"url": beside(one.url)}) for name, one in found.items()})

    state_dir = working_dir / fields.state_dir
    return Settings(
        definitions_dir=working_dir / fields.definitions_dir,
        state_dir=state_dir,
        database_url=beside(fields.database_url or SecretStr(f"sqlite:///{state_dir}/runs.db")),
        warehouses=connections(fields.warehouses),
        stores=connections(fields.stores),
        pool_size=fields.pool_size,
        jitter=timedelta(seconds=fields.jitter),
        grace=timedelta(seconds=fields.grace),
        keep_runs=timedelta(days=fields.keep_runs),
        log_level=fields.log_level,
        web=fields.web,
        alerts=fields.alerts,
        vars=MappingProxyType({name.lower(): value for name, value in fields.vars.items()}),
        environment=MappingProxyType(environment),
    )
