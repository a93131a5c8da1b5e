"""What Customer.io declares: its URLs, the settings beside them, and what these make it refuse."""

from __future__ import annotations

import enum
import json
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from connectors.support.connection import ConnectionName
from syncer.model.connectors import Options, StoreConnector, matching, revealed
from syncer.model.errors import StoreRefusesError
from syncer.model.types import Entity, EventKind, EventType, Identity, PersonKey, Target

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


#: How keys begin that are for every API of a workspace: on servers, and in browsers and apps, which may not read.
#: https://docs.customer.io/release-notes/2026-10-30-public-private-api-keys/ (read 2026-11-30)
_PRIVATE, _PUBLIC = "sk_", "pk_"


class Via(enum.StrEnum):
    """Through which of Customer.io's APIs people, devices and events go."""

    TRACK = "track"
    PIPELINES = "pipelines"


class CustomerIOOptions(Options):
    """The keys and addresses of a workspace's APIs, and how they are used."""

    site_id: SecretStr | None = Field(
        default=None, description="the site id of the Track API; required, but not with a private key"
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="the key of the Track API, or [a private key](customerio.md#keys) (`sk_…`) for it and for the "
        "App API; required",
    )
    app_api_key: SecretStr | None = Field(
        default=None, description="the key of the App API, for collections and reading back, beside a Track API key"
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
        default=100,
        description="the most calls per second to a workspace, of all processes "
        "[that share a run log](customerio.md#one-rate-for-all-processes) together",
    )
    object_types: Annotated[dict[str, _TypeNumber], BeforeValidator(_mapping)] = Field(
        default_factory=dict, description='the number of each object type in the workspace, such as `{"account": "1"}`'
    )
    via: Via = Field(
        default=Via.TRACK,
        description="`track`, or `pipelines` to send people, devices and events "
        "[through the Pipelines API](customerio.md#the-pipelines-api)",
    )

    @model_validator(mode="after")
    def _whole(self) -> CustomerIOOptions:
        for name in ("api_key", "app_api_key"):
            if revealed(getattr(self, name)).startswith(_PUBLIC):
                raise ValueError(
                    f"`{name}` is a public key (`{_PUBLIC}…`), which is for browsers and apps; give a private one "
                    f"(`{_PRIVATE}…`)"
                )
        if self.api_key is None or (self.site_id is None and not self.has_private_key):
            raise ValueError(
                "`site_id` and `api_key` are needed for customerio URLs, or as the `api_key` a private key "
                f"(`{_PRIVATE}…`) alone"
            )
        if self.via is Via.PIPELINES and self.cdp_api_key is None:
            raise ValueError("`cdp_api_key` is needed for `via` pipelines")
        return self

    @property
    def has_private_key(self) -> bool:
        """Whether the key of the Track API is one for all APIs."""
        return revealed(self.api_key).startswith(_PRIVATE)

    @property
    def app_key(self) -> str:
        """The key of the App API; empty where there is none."""
        return revealed(self.app_api_key) or (revealed(self.api_key) if self.has_private_key else "")


STORE = StoreConnector(
    schemes=("customerio",),
    opened_by="connectors.customerio.store:CustomerIOStore",
    options=CustomerIOOptions,
    extra="customerio",
    checked_by="connectors.customerio.options:check",
    bills_people=True,
    replaces_collections=True,
)

#: What is said where the App API has no key, and the next step.
NEEDS_APP_KEY = (
    "collections and reading back need the App API",
    "Set {setting}__APP_API_KEY, or a private key (`sk_…`) as {setting}__API_KEY.",
)

#: What can go through the Pipelines API.
_BY_PIPELINES = (Entity.PERSON, Entity.DEVICE, Entity.EVENT)

#: In lower case, the names of `track` calls that the Pipelines API takes for commands, such as to delete the person.
#: https://docs.customer.io/integrations/data-in/semantic-events/cio-journeys/ (read 2026-11-30)
COMMANDS = frozenset(
    {
        "device created or updated",
        "device deleted",
        "object deleted",
        "relationship deleted",
        "report content event",
        "report delivery event",
        "user deleted",
        "user suppressed",
        "user unsuppressed",
    }
)


def check(name: str, target: Target, *, create: bool, identity: Identity, options: CustomerIOOptions) -> None:
    """See `StoreConnector.checked_by`."""
    named, key = ConnectionName("store", name), target.person_key
    known_by = (*identity.unique, PersonKey.CIO_ID)
    if wrong := [one for one in (key, target.merged_key) if one not in (None, *known_by)]:
        known = " or ".join(f"`{name}`" for name in known_by)
        raise StoreRefusesError(
            f"{named.label} cannot tell people apart by `{wrong[0]}`: its identity is `{identity}`",
            hint=f"Identify people by {known}, or set {named.setting}__IDENTITY to what the workspace has.",
            field="person" if target.merged_key is None else "keep" if key is wrong[0] else "merge",
        )
    if PersonKey.PHONE in (by := target.keys_of_people) and target.merged_key is not None:
        # The operation `merge` has no member for it: https://docs.customer.io/api/track/ (read 2026-11-30)
        raise StoreRefusesError(
            f"{named.label} merges nobody by `phone`",
            hint="Name both people by `id`, `email` or `cio_id`.",
            field="keep" if by[0] is PersonKey.PHONE else "merge",
        )
    if target.entity.traits.names_object:
        type_number(named, str(target.object_type), options)
    if target.collection is None and target.entity is not Entity.PERSON and not create:
        unknown = "objects" if target.entity.traits.names_object else "people"
        raise StoreRefusesError(
            f"{named.label} cannot tell which {unknown} exist, so `create: false` is only for people",
            hint="Leave `create` out.",
            field="create",
        )
    if target.collection is not None and not options.app_key:
        raise StoreRefusesError(f"{named.label}: {NEEDS_APP_KEY[0]}", hint=named.hint(NEEDS_APP_KEY[1]))
    if goes_through_pipelines(target, options) and (key not in (None, PersonKey.ID) or not create):
        raise StoreRefusesError(
            f"{named.label}: the Pipelines API takes people by their `id` alone, and creates who is missing",
            hint=f"Leave {named.setting}__VIA out, or identify people by `id` and leave `create` out.",
            field="person",
        )
    if goes_through_pipelines(target, options) and target.event is not None:
        _refuse_command(named, target.event)


def _refuse_command(named: ConnectionName, event: EventType) -> None:
    if event.kind is EventKind.EVENT and event.name.strip().lower() in COMMANDS:
        raise StoreRefusesError(
            f"{named.label}: the Pipelines API takes an event `{event.name}` as a command, not as something that "
            "happened",
            hint="Give the event another name.",
            field="event",
        )


def goes_through_pipelines(target: Target, options: CustomerIOOptions) -> bool:
    """Whether a target's rows go to the Pipelines API."""
    return target.entity in _BY_PIPELINES and options.via is Via.PIPELINES


def type_number(named: ConnectionName, object_type: str, options: CustomerIOOptions) -> str:
    """The number that a type of objects has in the workspace.

    Raises:
        StoreRefusesError: the settings do not say.
    """
    number = options.object_types.get(object_type, object_type)
    if not re.fullmatch("[1-9][0-9]*", number):
        raise StoreRefusesError(
            f"{named.label} does not know the number of the object type `{object_type}`",
            hint=f'Set {named.setting}__OBJECT_TYPES, such as \'{{"{object_type}": "1"}}\', '
            "to the type's number in the workspace.",
            field="object",
        )
    return number
