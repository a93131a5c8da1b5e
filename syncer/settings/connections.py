"""How warehouses and stores are reached: what the settings of one connection are, and which go together."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from syncer.model.types import Identity, StoreOptions, Via, WarehouseOptions
from syncer.settings import url as connection_url

_API_URL_RULE = "should be an address such as `https://host`, without a path"
#: What the settings with a pattern of their own should look like.
PATTERNS = {
    "unload_to": "should be a folder such as `s3://bucket/folder`",
    "track_url": _API_URL_RULE,
    "app_url": _API_URL_RULE,
    "cdp_url": _API_URL_RULE,
    "object_types": 'should give each type its number, such as `{"account": "1"}`',
}


def _checked(url: SecretStr) -> SecretStr:
    return SecretStr(connection_url.checked(url.get_secret_value()))


Url = Annotated[SecretStr, AfterValidator(_checked)]
_ObjectType = Annotated[str, Field(pattern=r"^[1-9][0-9]*$", coerce_numbers_to_str=True)]
#: Credentials go there: without TLS only to this machine.
_ApiUrl = Annotated[str, StringConstraints(pattern=r"^(https://[^/?#@]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?)/?$")]


#: What goes beside a warehouse's URL, and the schemes of the URLs that use it.
_USED_BY = {
    "token": ("snowflake",),
    "key": ("snowflake", "bigquery"),
    "key_passphrase": ("snowflake",),
    "maximum_bytes_billed": ("bigquery",),
    "unload_to": ("redshift",),
    "unload_role": ("redshift",),
}


class ConnectionSettings(BaseModel):
    """How to reach a warehouse or store; its text holds no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Url

    @property
    def shown_url(self) -> str:
        """The URL for people, without its secrets."""
        return connection_url.shown(self.url.get_secret_value())


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


class WarehouseSettings(ConnectionSettings):
    """One warehouse, and what goes beside its URL (see WarehouseOptions)."""

    token: SecretStr | None = None
    key: SecretStr | None = None
    key_passphrase: SecretStr | None = None
    maximum_bytes_billed: Annotated[int, Field(gt=0)] | None = None
    unload_to: Annotated[str, StringConstraints(pattern=r"^s3://[^/]+(/.*)?$")] | None = None
    unload_role: str | None = None

    @model_validator(mode="after")
    def _only_what_it_uses(self) -> WarehouseSettings:
        scheme = self.url.get_secret_value().partition(":")[0].partition("+")[0]
        for name, schemes in _USED_BY.items():
            if getattr(self, name) is not None and scheme not in schemes:
                raise ValueError(f"`{name}` is only for {' and '.join(schemes)} URLs")
        return self

    @property
    def options(self) -> WarehouseOptions:
        """What goes beside the URL, with its secrets."""
        return WarehouseOptions(
            token=_revealed(self.token),
            key=_revealed(self.key),
            key_passphrase=_revealed(self.key_passphrase),
            maximum_bytes_billed=self.maximum_bytes_billed,
            unload_to=self.unload_to,
            unload_role=self.unload_role,
        )


class StoreSettings(ConnectionSettings):
    """One profile store."""

    identity: Identity = Field(
        default=Identity.ID,
        description="what [identifies people](stores.md#identity): `id`, `email` or `id_or_email`",
    )
    site_id: SecretStr | None = None
    api_key: SecretStr | None = None
    app_api_key: SecretStr | None = None
    cdp_api_key: SecretStr | None = None
    track_url: _ApiUrl | None = None
    app_url: _ApiUrl | None = None
    cdp_url: _ApiUrl | None = None
    requests_per_second: Annotated[int, Field(gt=0)] | None = None
    object_types: dict[str, _ObjectType] | None = None
    via: Via | None = None

    @model_validator(mode="after")
    def _only_what_it_uses(self) -> StoreSettings:
        if self.url.get_secret_value().partition(":")[0] != "customerio":
            for name in StoreSettings.model_fields:
                if name not in ("url", "identity") and getattr(self, name) is not None:
                    raise ValueError(f"`{name}` is only for customerio URLs")
        elif self.site_id is None or self.api_key is None:
            raise ValueError("`site_id` and `api_key` are needed for customerio URLs")
        elif self.via is Via.PIPELINES and self.cdp_api_key is None:
            raise ValueError("`cdp_api_key` is needed for `via` pipelines")
        return self

    @property
    def options(self) -> StoreOptions:
        """What goes beside the URL, with its secrets."""
        return StoreOptions(
            site_id=_revealed(self.site_id),
            api_key=_revealed(self.api_key),
            app_api_key=_revealed(self.app_api_key),
            cdp_api_key=_revealed(self.cdp_api_key),
            track_url=self.track_url,
            app_url=self.app_url,
            cdp_url=self.cdp_url,
            requests_per_second=self.requests_per_second or StoreOptions().requests_per_second,
            object_types=MappingProxyType(self.object_types or {}),
            via=self.via or Via.TRACK,
        )
