"""How warehouses and stores are reached: a URL, and beside it what its connector takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

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
from syncer.settings import url as connection_url

#: The field that holds what the connector takes; settings are named without it.
OPTIONS = "options"


def _checked(url: SecretStr) -> SecretStr:
    return SecretStr(connection_url.checked(url.get_secret_value()))


Url = Annotated[SecretStr, AfterValidator(_checked)]


class ConnectionSettings(BaseModel):
    """How to reach a warehouse or store; its text holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    #: The kinds that there are, by URL scheme.
    registered: ClassVar[Any]

    url: Url

    @property
    def shown_url(self) -> str:
        """The URL for people, without its secrets."""
        return connection_url.shown(self.url.get_secret_value())

    @classmethod
    def names(cls) -> set[str]:
        """What may be set of one, whatever its URL."""
        of_connectors = (name for connector in cls._connectors().values() for name in connector.options.model_fields)
        return {*of_connectors, *cls.model_fields} - {OPTIONS}

    @classmethod
    def _connectors(cls) -> Mapping[str, Connector]:
        found: Mapping[str, Connector] = cls.registered()
        return found

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
        connector = None if url is None else registry.connector_of(url.get_secret_value(), cls._connectors())
        takes = Options if connector is None else connector.options
        others = [name for name in given if name not in takes.model_fields and name in cls.names()]
        found = takes.model_validate({name: value for name, value in given.items() if name not in others})
        if others and url is not None:
            raise ValueError(f"`{others[0]}` is only for {' and '.join(cls._schemes_with(others[0]))} URLs")
        return found

    @classmethod
    def _schemes_with(cls, name: str) -> list[str]:
        connectors = cls._connectors().values()
        return sorted({one.schemes[0] for one in connectors if name in one.options.model_fields})


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
