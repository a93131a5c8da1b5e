"""What Customer.io declares: its URLs and the settings beside them."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from syncer.model.connectors import Options, StoreConnector, matching

_TYPES_RULE = 'should give each type its number, such as `{"account": "1"}`'

#: Credentials go there: without TLS only to this machine.
_ApiUrl = Annotated[
    str,
    matching(
        r"(https://[^/?#@]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?)/?",
        "should be an address such as `https://host`, without a path",
    ),
]
_TypeNumber = Annotated[str, Field(coerce_numbers_to_str=True), matching("[1-9][0-9]*", _TYPES_RULE)]


def _mapping(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise ValueError(_TYPES_RULE)
    return value


class Via(enum.StrEnum):
    """Through which of Customer.io's APIs people go."""

    TRACK = "track"
    PIPELINES = "pipelines"


class CustomerIOOptions(Options):
    """The keys and addresses of a workspace's APIs, and how they are used."""

    site_id: SecretStr | None = Field(default=None, description="the site id of the Track API; required")
    api_key: SecretStr | None = Field(default=None, description="the key of the Track API; required")
    app_api_key: SecretStr | None = Field(
        default=None, description="the key of the App API, for collections and reading back"
    )
    cdp_api_key: SecretStr | None = Field(default=None, description="the key of the Pipelines API")
    track_url: _ApiUrl | None = Field(
        default=None, description="the address of the Track API, if it is not the region's"
    )
    app_url: _ApiUrl | None = Field(default=None, description="the address of the App API, if it is not the region's")
    cdp_url: _ApiUrl | None = Field(
        default=None, description="the address of the Pipelines API, if it is not the region's"
    )
    requests_per_second: Annotated[int, Field(gt=0)] = Field(
        default=100, description="the most calls per second to a workspace, of all syncs in this process together"
    )
    object_types: Annotated[dict[str, _TypeNumber], BeforeValidator(_mapping)] = Field(
        default_factory=dict, description='the number of each object type in the workspace, such as `{"account": "1"}`'
    )
    via: Via = Field(
        default=Via.TRACK,
        description="`track`, or `pipelines` to send people "
        "[through the Pipelines API](customerio.md#the-pipelines-api)",
    )

    @model_validator(mode="after")
    def _whole(self) -> CustomerIOOptions:
        if self.site_id is None or self.api_key is None:
            raise ValueError("`site_id` and `api_key` are needed for customerio URLs")
        if self.via is Via.PIPELINES and self.cdp_api_key is None:
            raise ValueError("`cdp_api_key` is needed for `via` pipelines")
        return self


STORE = StoreConnector(
    schemes=("customerio",),
    opened_by="connectors.customerio.store:CustomerIOStore",
    options=CustomerIOOptions,
    extra="customerio",
    bills_people=True,
    replaces_collections=True,
)
