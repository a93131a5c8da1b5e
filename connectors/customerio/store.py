"""Customer.io as a profile store: a workspace that is told of changes, and says little of what it holds."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, assert_never

import pyarrow as pa

from connectors.customerio import collections, reading
from connectors.customerio.calls import Api, kept_rate
from connectors.customerio.items import Wording
from connectors.customerio.options import CustomerIOOptions, Via
from connectors.customerio.requests import expected_calls
from connectors.customerio.sending import Sending
from syncer.model.connectors import revealed
from syncer.model.errors import SettingsError, StoreError, StoreRefusesError
from syncer.model.protocols import IDENTIFIERS, VERDICTS
from syncer.model.types import Entity, Identity, PersonKey, Probe, Target, ValueForm

_SCHEME = "customerio://"
_HOSTS = {
    "us": ("https://track.customer.io", "https://api.customer.io", "https://cdp.customer.io"),
    "eu": ("https://track-eu.customer.io", "https://api-eu.customer.io", "https://cdp-eu.customer.io"),
}
_REGION = "/api/v1/accounts/region"
_BATCH = "/api/v2/batch"
_PIPELINES_BATCH = "/v1/batch"
#: Calls a second that the App API takes.
_APP_RATE = 10

_KNOWN_BY = {
    Identity.ID: (PersonKey.ID, PersonKey.CIO_ID),
    Identity.EMAIL: (PersonKey.EMAIL, PersonKey.CIO_ID),
    Identity.ID_OR_EMAIL: (PersonKey.ID, PersonKey.EMAIL, PersonKey.CIO_ID),
}


class CustomerIOStore:
    """One workspace."""

    batch_rows = 5_000
    collection_bytes = collections.LARGEST_COLLECTION
    value_form = ValueForm.UNIX_SECONDS
    replaces_collections: Literal[True] = True

    def __init__(
        self, name: str, url: str, *, identity: Identity, options: CustomerIOOptions, started_at: datetime | None
    ) -> None:
        """Connect, and confirm that the workspace is in the region that the URL names.

        Shapes:
            url: `customerio://us` or `customerio://eu`.
            started_at: the run's start, from which on its values count; None for now.
        Raises:
            SettingsError: the URL names no region, a key is missing, or the driver is not installed.
            StoreError: it cannot be reached, refuses the login, or is in the other region.
        """
        self.identity = identity
        self._name, self._label = name, f"store `{name}`"
        self._prefix = f"SYNCER_STORES__{name.upper()}__"
        self._options = options
        self._region = _region(self._label, self._prefix, url)
        self._started_at = started_at or datetime.now(UTC)
        self._closed = False
        self._sending: Sending | None = None
        site_id = revealed(options.site_id)
        self._track = Api(
            self._name,
            options.track_url or _HOSTS[self._region][0],
            login=(site_id, revealed(options.api_key)),
            key_setting=f"{self._prefix}SITE_ID and {self._prefix}API_KEY",
            per_second=options.requests_per_second,
        )
        #: No secret, and not to be turned back into the site id.
        self.store_id = hashlib.sha256(f"customerio:{self._region}:{site_id}".encode()).hexdigest()[:32]
        try:
            self._confirm_region()
        except BaseException:
            self.close()
            raise

    def check(self, target: Target, *, create: bool = True) -> None:
        """See `ProfileStore.check`."""
        key = target.person_key
        if key is not None and key not in _KNOWN_BY[self.identity]:
            known = " or ".join(f"`{name}`" for name in _KNOWN_BY[self.identity])
            raise StoreRefusesError(
                f"{self._label} cannot tell people apart by `{key}`: its identity is `{self.identity}`",
                hint=f"Identify people by {known}, or set {self._prefix}IDENTITY to what the workspace has.",
            )
        if target.entity.traits.names_object:
            self._type_number(target)
            if not create:
                raise StoreRefusesError(
                    f"{self._label} cannot tell which objects exist, so `create: false` is only for people",
                    hint="Leave `create` out.",
                )
        if not target.entity.traits.merges:
            self._app  # noqa: B018 - looking for its key is the check
        if self._goes_through_pipelines(target):
            if key is not PersonKey.ID or not create:
                raise StoreRefusesError(
                    f"{self._label}: the Pipelines API takes people by their `id` alone, and creates who is missing",
                    hint=f"Leave {self._prefix}VIA out, or identify people by `id` and leave `create` out.",
                )
            self._pipelines  # noqa: B018 - looking for its key is the check

    def forecast(self, target: Target, *, rows: int, row_bytes: int) -> str:
        """See `ForecastingChanges`."""
        if not rows:
            return ""
        if not target.entity.traits.merges:
            return "Customer.io: the whole collection is sent again, in 2 calls"
        calls = expected_calls(target.entity, rows=rows, row_bytes=row_bytes)
        rate = self._options.requests_per_second
        about = "1 call" if calls == 1 else f"about {calls:,} calls"
        return f"Customer.io: {about}, {_duration(calls / kept_rate(rate))} at {rate} a second"

    def identifiers(self, target: Target, keys: pa.Table) -> pa.Table:
        """See `ProfileStore.identifiers`; without an App API key only the name by which they are deleted."""
        if target.entity.traits.names_person and self._options.app_api_key:
            return reading.identifiers_of_people(self._app, target.person, keys["k1"].to_pylist())
        kind = target.object_type if target.entity.traits.names_object else target.person_key
        rows = len(keys)
        return pa.table(
            [pa.repeat(str(target.entity), rows), pa.repeat(str(kind), rows), keys["k1"]], schema=IDENTIFIERS
        )

    def apply(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
        """See `ProfileStore.apply`."""
        if self._closed:
            raise StoreError(f"{self._label} is closed")
        if not target.entity.traits.merges:
            return collections.replace(self._app, self._label, str(target.collection), batch)
        self._sending = self._sending or self._started(target, create=create)
        return self._sending.add(batch)

    def flush(self) -> pa.Table:
        """See `ProfileStore.flush`."""
        if self._sending is None:
            return VERDICTS.empty_table()
        verdicts = self._sending.finish()
        self._sending.close()
        self._sending = None
        return verdicts

    def _started(self, target: Target, *, create: bool) -> Sending:
        wording = Wording(
            identity=self.identity,
            via=self._options.via,
            create=create,
            timestamp=int(self._started_at.timestamp()),
            store_id=self.store_id,
            object_type=self._type_number(target) if target.object_type else "",
        )
        api, path = (
            (self._pipelines, _PIPELINES_BATCH) if self._goes_through_pipelines(target) else (self._track, _BATCH)
        )
        return Sending(api, path, target, wording)

    def _goes_through_pipelines(self, target: Target) -> bool:
        return target.entity is Entity.PERSON and self._options.via is Via.PIPELINES

    def show(self, entity: Entity, kind: str, value: str) -> dict[str, Any] | None:
        """See `ProfileStore.show`; of a collection no single row."""
        match entity:
            case Entity.PERSON:
                return reading.person(self._app, PersonKey(kind), value)
            case Entity.OBJECT:
                return reading.one_object(self._app, kind, self._number_of(kind), value)
            case Entity.COLLECTION:
                return reading.collection(self._app, self._label, kind)
            case Entity.RELATIONSHIP:
                raise ValueError("a relationship is shown with its person and with its object")
            case _:
                assert_never(entity)

    def probe(self) -> Probe:
        """See `Probing`; a key of the Pipelines API cannot be tried without sending something."""
        notes = [f"Its identity is taken to be `{self.identity}`."]
        if self._options.app_api_key:
            collections.find(self._app, self._label, "")
        else:
            notes.append("Without an App API key it has no collections, and nothing is read back.")
        if self._options.cdp_api_key:
            notes.append("The Pipelines key was not tried.")
        return Probe(version=f"Customer.io {self._region.upper()}", note=" ".join(notes))

    def close(self) -> None:
        """See `ProfileStore.close`."""
        self._closed = True
        self._track.close()
        for name in ("_app", "_pipelines"):
            if name in self.__dict__:
                self.__dict__[name].close()
        if self._sending is not None:
            self._sending.close()

    @cached_property
    def _app(self) -> Api:
        key = revealed(self._options.app_api_key)
        if not key:
            raise self._missing("APP_API_KEY", "collections and what it holds go through the App API")
        address = self._options.app_url or _HOSTS[self._region][1]
        setting = f"{self._prefix}APP_API_KEY"
        return Api(self._name, address, login=key, key_setting=setting, per_second=_APP_RATE)

    @cached_property
    def _pipelines(self) -> Api:
        key = revealed(self._options.cdp_api_key)
        if not key:
            raise self._missing("CDP_API_KEY", "the Pipelines API needs it")
        return Api(
            self._name,
            self._options.cdp_url or _HOSTS[self._region][2],
            login=(key, ""),
            key_setting=f"{self._prefix}CDP_API_KEY",
            per_second=self._options.requests_per_second,
            # Without it, what is wrong is dropped and answered with 200.
            headers={"X-Strict-Mode": "1"},
        )

    def _confirm_region(self) -> None:
        told = collections.parsed(self._track.call("GET", _REGION))
        region = told.get("region") if isinstance(told, dict) else None
        if region != self._region:
            found = f"in `{region}`" if region in _HOSTS else "in no region that it tells of"
            raise StoreError(
                f"{self._label}: the workspace is {found}, and the URL says `{self._region}`",
                hint=f"Set {self._prefix}URL to the workspace's region, customerio://us or customerio://eu.",
            )

    def _type_number(self, target: Target) -> str:
        return self._number_of(str(target.object_type))

    def _number_of(self, object_type: str) -> str:
        number = self._options.object_types.get(object_type, object_type)
        if not re.fullmatch("[1-9][0-9]*", number):
            raise StoreRefusesError(
                f"{self._label} does not know the number of the object type `{object_type}`",
                hint=f'Set {self._prefix}OBJECT_TYPES, such as \'{{"{object_type}": "1"}}\', '
                "to the type's number in the workspace.",
            )
        return number

    def _missing(self, setting: str, why: str) -> SettingsError:
        return SettingsError(f"{self._label}: {why}", hint=f"Set {self._prefix}{setting}.")


def _region(label: str, prefix: str, url: str) -> str:
    region = url.removeprefix(_SCHEME).rstrip("/")
    if region not in _HOSTS:
        raise SettingsError(
            f"{label}: its URL names no region", hint=f"Write {prefix}URL as customerio://us or customerio://eu."
        )
    return region


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under a second"
    return f"at least {seconds:,.0f} seconds" if seconds < 100 else f"at least {seconds / 60:,.1f} minutes"
