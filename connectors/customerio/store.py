"""Customer.io as a profile store: a workspace that takes changes, and lets little be read back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, assert_never

import pyarrow as pa

from connectors.customerio import collections, reading
from connectors.customerio.connection import Api
from connectors.customerio.delivery import BatchSender
from connectors.customerio.items import ItemSettings
from connectors.customerio.keyed_writes import ROWS_OF_A_WRITE
from connectors.customerio.options import (
    NEEDS_APP_KEY,
    CustomerIOOptions,
    Via,
    check,
    goes_through_pipelines,
    type_number,
)
from connectors.customerio.rate import kept_rate
from connectors.customerio.requests import expected_calls
from connectors.support.connection import ConnectionName
from syncer.model.call_rates import Turns
from syncer.model.connectors import revealed
from syncer.model.errors import SettingsError, StoreError
from syncer.model.protocols import IDENTIFIERS, VERDICTS
from syncer.model.types import Entity, Identity, PersonKey, Probe, Target, ValueForm

_SCHEME = "customerio://"
#: Of the Track, the App and the Pipelines API.
_HOSTS = {
    "us": ("https://track.customer.io", "https://api.customer.io", "https://cdp.customer.io"),
    "eu": ("https://track-eu.customer.io", "https://api-eu.customer.io", "https://cdp-eu.customer.io"),
}
_REGION = "/api/v1/accounts/region"
_BATCH = "/api/v2/batch"
_PIPELINES_BATCH = "/v1/batch"
#: Calls a second that the App API takes.
_APP_RATE = 10


class CustomerIOStore:
    """One workspace."""

    batch_rows = 10_000
    collection_bytes = collections.LARGEST_COLLECTION
    value_form = ValueForm.UNIX_SECONDS
    replaces_collections: Literal[True] = True
    gives_texts = True

    def __init__(
        self, name: str, url: str, *, identity: Identity, options: CustomerIOOptions, started_at: datetime | None
    ) -> None:
        """Nothing is sent yet: the first use confirms that the workspace is in the region that the URL names.

        Shapes:
            url: `customerio://us` or `customerio://eu`.
            started_at: the run's start, the time of all its values; None for now.
        Raises:
            SettingsError: the URL names no region, a key is missing, or the driver is not installed.
        """
        self.identity = identity
        self._named = ConnectionName("store", name)
        self._label, self._setting = self._named.label, self._named.setting
        self._options = options
        self._region = url.removeprefix(_SCHEME).rstrip("/")
        if self._region not in _HOSTS:
            raise self._named.unusable(
                "URL names no region", "Write {setting}__URL as customerio://us or customerio://eu."
            )
        self._started_at = started_at or datetime.now(UTC)
        self._closed = self._interrupted = self._confirmed = False
        self._apis: list[Api] = []
        self._turns: Turns | None = None
        self._sender: BatchSender | None = None
        self._environment: Any = None
        self._track = self._api(
            options.track_url or _HOSTS[self._region][0],
            **self._track_login(),
            per_second=options.requests_per_second,
        )

    def share_rate(self, turns: Turns) -> None:
        """See `SharesRate`."""
        self._turns = turns
        for api in self._apis:
            api.share_rate(turns)

    @cached_property
    def store_id(self) -> str:
        """See `ProfileStore`; by the site id, or else by the workspace's own number.

        Raises:
            StoreError: Customer.io cannot be reached, or does not tell the number.
        """
        workspace = revealed(self._options.site_id)
        if not workspace:
            self._confirm_region()
            if self._environment in (None, ""):
                raise StoreError(
                    f"{self._label}: Customer.io does not tell which workspace the private key is for",
                    hint=f"Set {self._setting}__SITE_ID to the workspace's site id.",
                )
            workspace = f"environment {self._environment}"
        # No secret: nobody can find the site id by it.
        return hashlib.sha256(f"customerio:{self._region}:{workspace}".encode()).hexdigest()[:32]

    def check(self, target: Target, *, create: bool = True) -> None:
        """See `ProfileStore.check`.

        Raises:
            StoreRefusesError: as there.
            StoreError: Customer.io cannot be reached, refuses the login, or has the workspace in the other region.
        """
        check(self._named.name, target, create=create, identity=self.identity, options=self._options)
        self._confirm_region()

    def address(self, target: Target) -> str:
        """See `AddressesTargets`: the number of an object's type; of a key of its own, which workspace that may be.

        Of events nothing: by another way, or with a new key, they would happen again.
        """
        if target.event is not None:
            return ""
        if target.object_type is not None:
            return self._options.object_types.get(target.object_type, target.object_type)
        # A private key without a site id is for the workspace that `store_id` tells, also after another one.
        through, key = "app", self._options.app_key if self._options.site_id else revealed(self._options.app_api_key)
        if target.person_key is not None:
            through, key = str(self._options.via), revealed(self._options.cdp_api_key)
        if through == Via.TRACK:
            return through
        # No secret, as for `store_id`.
        return f"{through} {hashlib.sha256(f'{self.store_id}:{key}'.encode()).hexdigest()[:16]}"

    def forecast(self, target: Target, *, rows: int, row_bytes: int) -> str:
        """See `ForecastingChanges`."""
        if not rows:
            return ""
        if target.collection is not None:
            alone = 2 + 2 * math.ceil(rows / ROWS_OF_A_WRITE)
            return f"Customer.io: about {alone} calls for these rows alone, or 3 for the whole collection"
        travels_alone = target.event is not None and target.names_visitors and self._options.via is Via.TRACK
        is_each_alone = travels_alone and target.person_key is None
        calls = rows if is_each_alone else expected_calls(target.entity, rows=rows, row_bytes=row_bytes)
        rate = self._options.requests_per_second
        about = "1 call" if calls == 1 else f"about {calls:,} calls"
        more = ", and a call for each event of a visitor" if travels_alone and not is_each_alone else ""
        return f"Customer.io: {about}, {_duration(calls / kept_rate(rate))} at {rate} a second{more}"

    def identifiers(self, target: Target, keys: pa.Table) -> pa.Table:
        """See `ProfileStore.identifiers`; without an App API key only the key itself."""
        if target.entity.traits.names_person and self._options.app_key:
            return reading.identifiers_of_people(self._app, target.person, keys["k1"].to_pylist(), self.identity)
        kind = target.object_type if target.entity.traits.names_object else target.person_key
        rows = len(keys)
        return pa.table(
            [pa.repeat(str(target.entity), rows), pa.repeat(str(kind), rows), keys["k1"]], schema=IDENTIFIERS
        )

    def apply(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
        """See `ProfileStore.apply`."""
        if self._closed:
            raise StoreError(f"{self._label} is closed")
        if target.collection is not None:
            return collections.deliver(self._app, target, batch)
        self._sender = self._sender or self._sender_of(target, create=create)
        return self._sender.add(batch)

    def flush(self) -> pa.Table:
        """See `ProfileStore.flush`."""
        if self._sender is None:
            return VERDICTS.empty_table()
        verdicts = self._sender.finish()
        self._sender.close()
        self._sender = None
        return verdicts

    def _sender_of(self, target: Target, *, create: bool) -> BatchSender:
        settings = ItemSettings(
            identity=self.identity,
            via=self._options.via,
            create=create,
            timestamp=int(self._started_at.timestamp()),
            store_id=self.store_id,
            object_type=type_number(self._named, target.object_type, self._options) if target.object_type else "",
        )
        if goes_through_pipelines(target, self._options):
            return BatchSender(self._pipelines, _PIPELINES_BATCH, target, settings)
        return BatchSender(self._track, _BATCH, target, settings)

    def show(self, entity: Entity, kind: str, value: str) -> dict[str, Any] | None:
        """See `ProfileStore.show`; of a collection no single row."""
        self._confirm_region()
        match entity:
            case Entity.PERSON:
                return reading.person(self._app, PersonKey(kind), value, self.identity)
            case Entity.OBJECT:
                return reading.one_object(self._app, kind, type_number(self._named, kind, self._options), value)
            case Entity.COLLECTION:
                return reading.collection(self._app, kind)
            case Entity.RELATIONSHIP | Entity.DEVICE | Entity.MERGE | Entity.EVENT:
                raise ValueError(f"a {entity} is shown with its person")
            case _:
                assert_never(entity)

    def can_list(self, target: Target) -> bool:
        """See `ReadsBack.can_list`."""
        return target.collection is not None

    def contained(self, target: Target, keys: pa.Table | None) -> Iterator[pa.Table]:
        """See `ReadsBack.contained`."""
        self._confirm_region()
        number = type_number(self._named, target.object_type, self._options) if target.object_type else ""
        return reading.contained(self._app, target, number, pa.table({}) if keys is None else keys, self.identity)

    def ledgers(self) -> frozenset[str]:
        """See `ReadsBack.ledgers`; Customer.io keeps none."""
        return frozenset()

    def probe(self) -> Probe:
        """See `Probing`; nothing tests a key of the Pipelines API without sending data."""
        self._confirm_region()
        notes = [f"Syncer takes its identity to be `{self.identity}`."]
        if self._options.app_key:
            collections.find(self._app, "")
        else:
            notes.append("Without an App API key, Syncer cannot send collections or read anything back.")
        if self._options.cdp_api_key:
            notes.append("Syncer has not tried the Pipelines key.")
        return Probe(version=f"Customer.io {self._region.upper()}", can_write=True, note=" ".join(notes))

    def clock(self) -> datetime | None:
        """See `DatesAnswers`."""
        self._confirm_region()
        return self._track.clock()

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interrupted = True
        for api in list(self._apis):
            api.stop()

    def close(self) -> None:
        """See `ProfileStore.close`."""
        self._closed = True
        for api in self._apis:
            api.close()
        if self._sender is not None:
            self._sender.close()

    @cached_property
    def _app(self) -> Api:
        return self._api(
            self._options.app_url or _HOSTS[self._region][1],
            login=self._app_key(),
            key_setting=f"{self._setting}__{'APP_API_KEY' if self._options.app_api_key else 'API_KEY'}",
            per_second=_APP_RATE,
        )

    @cached_property
    def _pipelines(self) -> Api:
        return self._api(
            self._options.cdp_url or _HOSTS[self._region][2],
            login=(revealed(self._options.cdp_api_key), ""),
            key_setting=f"{self._setting}__CDP_API_KEY",
            per_second=self._options.requests_per_second,
            # Without it, the API drops invalid calls and answers 200.
            headers={"X-Strict-Mode": "1"},
        )

    def _api(self, address: str, **login: Any) -> Api:
        api = Api(self._named, address, **login)
        if self._turns is not None:
            api.share_rate(self._turns)
        # In this order: `interrupt` looks the other way round.
        self._apis.append(api)
        if self._interrupted:
            api.stop()
        return api

    def _track_login(self) -> dict[str, Any]:
        key = revealed(self._options.api_key)
        if self._options.has_private_key:
            # Not documented: whether the Track API takes it as the App API takes keys, or as the Pipelines API does.
            return {"login": key, "or_login": (key, ""), "key_setting": f"{self._setting}__API_KEY"}
        setting = f"{self._setting}__SITE_ID and {self._setting}__API_KEY"
        return {"login": (revealed(self._options.site_id), key), "key_setting": setting}

    def _app_key(self) -> str:
        if not (key := self._options.app_key):
            fault, hint = NEEDS_APP_KEY
            raise SettingsError(f"{self._label}: {fault}", hint=self._named.hint(hint))
        return key

    def _confirm_region(self) -> None:
        if self._confirmed:
            return
        content = self._track.call("GET", _REGION).json()
        region = content.get("region") if isinstance(content, dict) else None
        if region != self._region:
            found = f"in `{region}`" if region in _HOSTS else "in an unknown region"
            raise StoreError(
                f"{self._label}: the workspace is {found}, and the URL says `{self._region}`",
                hint=f"Set {self._setting}__URL to the workspace's region, customerio://us or customerio://eu.",
            )
        self._confirmed, self._environment = True, content.get("environment_id")


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "under a second"
    return f"at least {seconds:,.0f} seconds" if seconds < 100 else f"at least {seconds / 60:,.1f} minutes"
