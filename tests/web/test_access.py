"""What settings let a service start, and whom they let in."""

from __future__ import annotations

import os
from typing import Any

import argon2
import pytest

from syncer.model.errors import SettingsError
from syncer.settings.service import WebSettings
from syncer.web.auth import access
from tests.cli import forked
from tests.web.conftest import GUARDED, PASSWORD, Site


def web(**fields: Any) -> WebSettings:
    return WebSettings.model_validate(fields)


def test_by_default_only_this_machine_reaches_the_service() -> None:
    assert web().is_loopback
    assert not web().is_guarded
    assert web().password is None
    assert not web().tokens
    access.check(web())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "syncer.example.com"])
def test_others_reach_it_only_where_somebody_is_asked_who_they_are(host: str) -> None:
    with pytest.raises(SettingsError) as told:
        access.check(web(host=host))

    assert "SYNCER_WEB__HOST" in told.value.message
    assert "SYNCER_WEB__PASSWORD" in told.value.hint
    for fields in (
        {"password": PASSWORD},
        {"tokens": {"ci": {"token": "0f9e8d7c6b5a49382716"}}},
        {"proxy_header": "X-User", "proxy_addresses": "10.0.0.9"},
    ):
        access.check(web(host=host, **fields))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"password": "changeme"}, "example"),
        ({"password": "Change-Me-123"}, "example"),
        ({"password": "password12345"}, "example"),
        ({"password": "1234567890"}, "example"),
        ({"password": "short"}, "at least 10"),
        ({"password": "$argon2id$v=19$nonsense"}, "is none"),
        ({"tokens": {"ci": {"token": "change-me-change-me"}}}, "SYNCER_WEB__TOKENS__CI__TOKEN"),
        ({"proxy_header": "X-User"}, "needs SYNCER_WEB__PROXY_ADDRESSES"),
    ],
)
def test_a_secret_that_everybody_knows_is_none(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as error:
        access.check(web(**fields))

    assert told in error.value.message
    for secret in ("nonsense", "12345", "short"):
        assert secret not in error.value.message


def test_a_hash_may_stand_in_for_the_password(site: Site) -> None:
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=64).hash(PASSWORD)

    with site.served({"SYNCER_WEB__PASSWORD": hashed}) as served:
        client = served.client()
        assert client.post("/login", data={"password": hashed}).status_code == 401
        assert client.post("/login", data={"password": PASSWORD}).status_code == 303
        assert client.get("/api/v1/syncs").status_code == 200


def test_nothing_is_opened_before_the_settings_are_right(site: Site) -> None:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    ended = forked.run("serve", "--host", "0.0.0.0", "--port", "0", folder=site.path, environment=environment)

    assert ended.code == 2
    assert "SYNCER_WEB__HOST" in ended.err
    assert not (site.path / ".syncer").exists()


def test_a_service_on_every_address_asks_who_it_is(site: Site) -> None:
    with site.served({**GUARDED, "SYNCER_WEB__HOST": "0.0.0.0"}) as served:
        port = served.address.rpartition(":")[2]
        assert served.client().get(f"http://127.0.0.1:{port}/api/v1/syncs").status_code == 401
