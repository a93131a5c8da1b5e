from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from syncer.definitions import file
from syncer.definitions.fields import FIELDS
from syncer.definitions.json_schema import schema
from syncer.model.types import Entity, SyncDefinition

EXAMPLES = (
    """\
description: Lifetime value of each customer, from paid orders
entity: person
person: {id: user_id}
schedule: every 1 hour
""",
    """\
entity: relationship
person: {id: user_id}
object: {type: account, id: account_id}
on_removed: delete
""",
    """\
entity: device
person: {email: mail}
device: {token: push_token, platform: {column: os}, last_used: seen_at}
on_removed: delete
""",
    """\
name: coupons-2026
entity: collection
collection: coupons
key: [shop, code]
owner: growth team
tags: [daily, finance]
attributes: {coupon: coupon_code, percent: discount}
warehouse: default
schedule: {cron: "0 6 * * 7"}
timezone: Europe/Berlin
limits: {removed: 15%, changed: 500, empty: hold}
timeout: 90
depends_on: [people, accounts]
queue: nightly
priority: -5
enabled: false
""",
    """\
entity: event
person: {email: mail}
event: {name: {column: what}, id: [shop, order_id], time: paid_at, kind: page}
start: "2026-01-31"
lookback: 2 days
remember: 30 days
limits: {events: 100000}
create: false
""",
    """entity: event
person: {anonymous: visitor}
event: {name: viewed, id: view, time: at}
start: all
""",
    """entity: person
person: {email: mail, anonymous: visitor}
""",
    """entity: person
person: {email: mail, previous: old_mail, anonymous: visitor}
""",
)


def validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(schema())


def definition_of(header: str) -> SyncDefinition | None:
    return file.parse(Path("example.sql"), f"/* sync\n{header}*/\nSELECT 1\n".encode()).definition


def test_the_schema_is_valid_draft_7() -> None:
    jsonschema.Draft7Validator.check_schema(schema())

    assert schema()["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_the_schema_describes_every_field_of_the_table() -> None:
    properties = schema()["properties"]

    assert list(properties) == list(FIELDS)
    assert all(re.search(r"\w", described["description"]) for described in properties.values())


@pytest.mark.parametrize("header", EXAMPLES)
def test_an_example_is_right_for_the_schema_and_for_the_parser(header: str) -> None:
    assert list(validator().iter_errors(yaml.safe_load(header))) == []
    assert definition_of(header) is not None


@pytest.mark.parametrize(
    "header",
    [
        "person: {id: a}\n",
        "entity: peson\n",
        "entity: person\n",
        "entity: person\nperson: {id: a, email: b}\n",
        "entity: person\nperson: {id: a}\nnmae: x\n",
        "entity: person\nperson: {id: a}\nkey: x\n",
        "entity: person\nperson: {id: a}\nlimits: {removed: 120%}\n",
        "entity: person\nperson: {id: a}\nlimits: {removd: 1}\n",
        "entity: person\nperson: {id: a}\nname: A B\n",
        "entity: person\nperson: {id: a}\nschedule: every 30 seconds\n",
        "entity: person\nperson: {id: a}\ntimeout: 0\n",
        "entity: person\nperson: {id: a}\ntags: [a, a]\n",
        "entity: object\nobject: {type: account}\n",
        "entity: device\nperson: {id: a}\ndevice: {token: t}\n",
        "entity: device\nperson: {id: a}\ndevice: {token: t, platform: windows}\n",
        "entity: device\nperson: {id: a}\ndevice: {token: t, platform: ios}\non_removed: clear\n",
        "entity: collection\ncollection: c\nkey: []\n",
        "entity: collection\ncollection: c\nkey: a\ncreate: true\n",
        "entity: event\nperson: {id: a}\nevent: {name: x, id: b, time: c}\n",
        "entity: event\nperson: {id: a}\nevent: {name: x, id: b}\nstart: now\n",
        "entity: event\nperson: {id: a}\nevent: {name: {col: x}, id: b, time: c}\nstart: now\n",
        "entity: event\nperson: {id: a}\nevent: {name: x, id: b, time: c}\nstart: now\nlimits: {removed: 5}\n",
        "entity: event\nperson: {id: a}\nevent: {name: x, id: b, time: c}\nstart: now\non_removed: keep\n",
        "entity: person\nperson: {id: a}\nlimits: {events: 5}\n",
        "entity: person\nperson: {anonymous: a}\n",
        "entity: person\nperson: {id: a, email: b, anonymous: c}\n",
        "entity: person\nperson: {id: a, anonymous: c}\naction: delete\n",
        "entity: device\nperson: {id: a, anonymous: c}\ndevice: {token: t, platform: ios}\n",
        "entity: merge\nkeep: {id: a, anonymous: c}\nmerge: {id: b}\n",
        "entity: event\nperson: {}\nevent: {name: x, id: b, time: c}\nstart: now\n",
        "entity: person\nperson: {id: a, previous: b}\n",
        "entity: person\nperson: {phone: a, previous: b}\n",
        "entity: person\nperson: {previous: b}\n",
        "entity: person\nperson: {previous: b, anonymous: c}\n",
        "entity: person\nperson: {email: a, previous: b}\naction: delete\n",
        "entity: device\nperson: {email: a, previous: b}\ndevice: {token: t, platform: ios}\n",
        "entity: event\nperson: {email: a, previous: d}\nevent: {name: x, id: b, time: c}\nstart: now\n",
        "entity: merge\nkeep: {email: a, previous: c}\nmerge: {id: b}\n",
    ],
)
def test_a_mistake_is_seen_by_the_schema_and_by_the_parser(header: str) -> None:
    assert list(validator().iter_errors(yaml.safe_load(header)))
    assert definition_of(header) is None


def test_every_default_of_the_schema_is_what_the_parser_assumes() -> None:
    properties = schema()["properties"]
    parts = properties["limits"]["properties"].items()
    limits = {name: part["default"] for name, part in parts if "default" in part}
    defaults = {name: described["default"] for name, described in properties.items() if "default" in described}
    header = yaml.safe_dump({"entity": "person", "person": {"id": "a"}, "limits": limits} | defaults)

    assumed, written = definition_of("entity: person\nperson: {id: a}\n"), definition_of(header)

    assert assumed is not None
    assert written is not None
    assert {name: value for name, value in fields(written).items() if name not in ("lines", "hash", "sql_line")} == {
        name: value for name, value in fields(assumed).items() if name not in ("lines", "hash", "sql_line")
    }


def fields(definition: SyncDefinition) -> dict[str, Any]:
    return {name: getattr(definition, name) for name in definition.__dataclass_fields__}


NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters='"\\*/'), min_size=1, max_size=20)
COLUMNS = st.lists(TEXTS.filter(lambda text: text not in ("id", "cio_id")), min_size=2, max_size=6, unique=True)


STARTS = st.sampled_from(["all", "now", "2026-01-31"])


@st.composite
def headers(draw: st.DrawFn) -> dict[str, Any]:
    entity = draw(st.sampled_from(Entity))
    first, second, *others = draw(COLUMNS)
    header: dict[str, Any] = {"entity": str(entity)}
    if entity.traits.names_person:
        header["person"] = {"id": first}
    if entity in (Entity.OBJECT, Entity.RELATIONSHIP):
        header["object"] = {"type": draw(TEXTS), "id": second}
    if entity is Entity.DEVICE:
        header["device"] = {"token": second, "platform": draw(st.sampled_from(["ios", "android"]))}
    if entity is Entity.COLLECTION:
        header |= {"collection": draw(TEXTS), "key": [first, second]}
    if entity is Entity.MERGE:
        header |= {"keep": {"id": first}, "merge": {"email": second}}
    if entity is Entity.EVENT:
        header |= {"event": {"name": draw(TEXTS), "id": [second], "time": first}, "start": draw(STARTS)}
    optional = {
        "name": NAMES,
        "owner": TEXTS,
        "tags": st.lists(TEXTS, unique=True, max_size=3),
        "exclude": st.just(others),
        "schedule": st.sampled_from(["manual", "every 5 minutes", {"cron": "0 6 * * 1"}]),
        "limits": st.fixed_dictionaries({}, optional={"removed": st.integers(0, 10**6), "changed": st.just("7.5%")}),
        "timeout": st.integers(1, 86_400),
        "enabled": st.booleans(),
    }
    if entity is Entity.MERGE:
        del optional["exclude"]
        optional["limits"] = st.fixed_dictionaries({}, optional={"merged": st.integers(0, 10**6)})
    if entity is Entity.EVENT:
        optional["limits"] = st.fixed_dictionaries({}, optional={"events": st.integers(0, 10**6)})
    return header | draw(st.fixed_dictionaries({}, optional=optional))


@given(headers(), st.booleans())
def test_any_right_header_reads_back_as_it_was_written(header: dict[str, Any], flow: bool) -> None:
    text = yaml.safe_dump(header, allow_unicode=True, default_flow_style=flow, width=10_000)

    assert list(validator().iter_errors(header)) == []
    definition = definition_of(text)
    assert definition is not None
    assert definition.target.entity == header["entity"]
    assert definition.owner == header.get("owner", "").strip()
    assert definition.tags == tuple(header.get("tags", ()))
    assert definition.exclude == tuple(header.get("exclude", ()))
    assert definition.enabled == header.get("enabled", True)
    assert definition.timeout.total_seconds() == header.get("timeout", 30 * 60)
    assert set(definition.target.key_columns) <= {
        *header.get("person", {}).values(),
        *header.get("keep", {}).values(),
        *header.get("merge", {}).values(),
        *header.get("object", {}).values(),
        *header.get("device", {}).values(),
        *header.get("key", ()),
        *header.get("event", {}).get("id", ()),
    }


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"action": "delete"}, True),
        ({"action": "delete", "limits": {"deleted": "5%"}}, True),
        ({"action": "erase"}, False),
        ({"action": "delete", "on_removed": "keep"}, False),
        ({"action": "delete", "limits": {"removed": 5}}, False),
        ({"limits": {"removed": 5}}, True),
    ],
)
def test_the_schema_knows_what_a_list_does_not_have(fields: dict[str, object], *, fits: bool) -> None:
    header = {"entity": "person", "person": {"id": "id"}} | fields

    assert validator().is_valid(header) is fits
