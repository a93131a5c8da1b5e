"""How warehouses and stores are reached: a URL, and beside it what its connector takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from syncer.model.connectors import Connector, Options
from syncer.model.types import Identity
from syncer.settings import registry

#: The field that holds what the connector takes; settings are named without it.
OPTIONS = "options"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)")
_SECRET_WORDS = re.compile(r"pass|pwd|secret|token|key|credential|auth|sas|sig", re.IGNORECASE)
_MASK = "***"

_T = TypeVar("_T", bound="ConnectionSettings")


def checked(url: str) -> str:
    """*url* with its scheme in lower case and no blanks around it.

    Raises:
        ValueError: it is no URL; the text says why and holds no part of it.
    """
    url = url.strip()
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise ValueError("is not a URL such as `postgresql://USER:PASSWORD@HOST/DATABASE`")
    if not url.isprintable() or " " in url:
        raise ValueError("holds a blank or a control character; write it as `%20` or the like")
    try:
        urlsplit(url).port  # noqa: B018 - looking at it is the check
    except ValueError:
        # Its text holds what would be the port, which may be the start of the password.
        raise ValueError(
            "cannot be read; write `/`, `?`, `#`, `@` and `:` in a password as `%2F` and the like"
        ) from None
    return scheme[0].lower() + url[scheme.end() :]


def beside(url: str, folder: Path) -> str:
    """*url*, where it names a file by a relative path, with the path that this has from *folder*."""
    scheme, _, rest = url.partition("://")
    path, mark, query = rest.partition("?")
    if not registry.names_file(url) or not path.startswith("/") or path in {"/", "/:memory:"}:
        return url
    # The first slash ends the empty host: `///file` is relative, `////file` is not.
    return f"{scheme}:///{folder / path[1:]}{mark}{query}"


def shown(url: str) -> str:
    """*url* for people: without password, and without values in its query that look secret."""
    parts = urlsplit(url)
    parameters = [parameter for parameter in parts.query.split("&") if parameter]
    if any("@" in part for part in (parts.path, parts.fragment, *(p for p in parameters if "=" not in p))):
        # A password that is not encoded was taken for something else.
        return f"{parts.scheme}://{_MASK}"
    login, at, host = parts.netloc.rpartition("@")
    query = "&".join(map(_shown_parameter, parameters))
    return f"{parts.scheme}://{login.partition(':')[0]}{at}{host}{parts.path}{'?' if query else ''}{query}"


def _shown_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if not equals:
        return _MASK
    return f"{name}={_MASK}" if _SECRET_WORDS.search(name) else parameter


Url = Annotated[SecretStr, AfterValidator(lambda url: SecretStr(checked(url.get_secret_value())))]


class ConnectionSettings(BaseModel):
    """How to reach a warehouse or store; its text holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    #: The kinds that there are, by URL scheme.
    registered: ClassVar[Callable[[], Mapping[str, Connector]]]

    url: Url

    @property
    def shown_url(self) -> str:
        """The URL for people, without its secrets."""
        return shown(self.url.get_secret_value())

    def in_folder(self: _T, folder: Path) -> _T:
        """The same, with a relative path in its URL starting at *folder*."""
        return self.model_copy(update={"url": SecretStr(beside(self.url.get_secret_value(), folder))})

    @classmethod
    def names(cls) -> set[str]:
        """What may be set of one, whatever its URL."""
        of_connectors = (name for connector in cls.registered().values() for name in connector.options.model_fields)
        return {*of_connectors, *cls.model_fields} - {OPTIONS}

    @model_validator(mode="before")
    @classmethod
    def _with_options(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        own = {name: value for name, value in data.items() if name in cls.model_fields and name != OPTIONS}
        return {**own, OPTIONS: {name: value for name, value in data.items() if name not in own}}

    @field_validator(OPTIONS, mode="plain", check_fields=False)
    @classmethod
    def _as_its_connector_takes_them(cls, given: dict[str, Any], info: ValidationInfo) -> Options:
        url = info.data.get("url")
        connector = None if url is None else registry.connector_of(url.get_secret_value(), cls.registered())
        takes = Options if connector is None else connector.options
        others = [name for name in given if name not in takes.model_fields and name in cls.names()]
        found = takes.model_validate({name: value for name, value in given.items() if name not in others})
        if others and url is not None:
            connectors = cls.registered().values()
            schemes = sorted({one.schemes[0] for one in connectors if others[0] in one.options.model_fields})
            raise ValueError(f"`{others[0]}` is only for {' and '.join(schemes)} URLs")
        return found


class WarehouseSettings(ConnectionSettings):
    """One warehouse."""

    registered = staticmethod(registry.warehouses)
    options: SerializeAsAny[Options] = Options()


class StoreSettings(ConnectionSettings):
    """One profile store."""

    registered = staticmethod(registry.stores)
    identity: Identity = Field(
        default=Identity.ID,
        description="what [identifies people](stores.md#identity): `id`, `email` or `id_or_email`",
    )
    options: SerializeAsAny[Options] = Options()


#: The settings that are several connections, each by a name.
GROUPS: Mapping[str, type[ConnectionSettings]] = {"warehouses": WarehouseSettings, "stores": StoreSettings}
