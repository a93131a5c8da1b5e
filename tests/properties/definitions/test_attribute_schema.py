"""The JSON Schema of `attributes.yml`: it takes what the parser takes, and refuses what the parser refuses."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import jsonschema
import pytest
import yaml

from syncer.definitions import attribute_rules
from syncer.definitions.file import parse
from syncer.definitions.json_schema import attributes_schema
from syncer.model.attribute_rules import AttributeType, Normaliser

SYNCS = [
    parse(Path(f"{name}.sql"), f"/* sync\nentity: person\nperson: {{id: id}}\n*/\nSELECT id FROM {name}\n".encode())
    for name in ("billing", "crm", "web-2")
]


def is_right(text: str) -> bool:
    """What the parser says of a file beside these syncs."""
    return not attribute_rules.read(Path("attributes.yml"), text.encode(), SYNCS).errors


def fits(text: str) -> bool:
    """What the schema says of what an editor reads of it."""
    return jsonschema.Draft7Validator(attributes_schema()).is_valid(yaml.safe_load(text))


def test_the_schema_is_valid_draft_7_and_describes_every_field() -> None:
    schema = attributes_schema()
    jsonschema.Draft7Validator.check_schema(schema)

    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    described = schema["additionalProperties"]["properties"]
    assert list(described) == ["from", "type", "normalise"]
    assert all(one["description"] for one in described.values())


@pytest.mark.parametrize(
    "text",
    [
        "plan: {from: [billing, crm], type: text, normalise: trim}\ncity: {from: crm}\n",
        "plan:\n  from:\n    - billing\n    - web-2\n  type: date\n",
        "# none so far\n{}\n",
        '"a b/c ~é": {type: text}\n',
        "phone: {normalise: e164}\n",
        f"{'a' * 150}: {{type: text}}\n",
        '" ": {type: text}\n',
    ],
)
def test_what_is_right_is_right_for_both(text: str) -> None:
    assert (fits(text), is_right(text)) == (True, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- plan\n",
        "plan\n",
        "plan: billing\n",
        "plan: {}\n",
        "plan: [billing]\n",
        "plan:\n",
        "plan: {from: []}\n",
        "plan: {from: {a: crm}}\n",
        "plan: {from: [crm, crm]}\n",
        "plan: {from: [Crm]}\n",
        "plan: {from: [[crm]]}\n",
        "plan: {from:}\n",
        "plan: {form: [billing]}\n",
        "plan: {from: crm, owner: me}\n",
        "plan: {type: money}\n",
        "plan: {type: [text]}\n",
        "plan: {normalise: upper}\n",
        "plan: {type: date, normalise: trim}\n",
        '"a\\"b": {from: crm}\n',
        '"a\\\\b": {from: crm}\n',
        '"a\\tb": {from: crm}\n',
        '"a\\x85b": {from: crm}\n',
        '"": {from: crm}\n',
        f"{'a' * 151}: {{type: text}}\n",
    ],
)
def test_what_is_wrong_is_wrong_for_both(text: str) -> None:
    assert (fits(text), is_right(text)) == (False, False)


def test_any_type_with_any_spelling_is_right_for_both_or_for_none() -> None:
    for sources, type_, normaliser in product(("", "from: crm"), ("", *AttributeType), ("", *Normaliser)):
        parts = [sources, type_ and f"type: {type_}", normaliser and f"normalise: {normaliser}"]
        text = f"plan: {{{', '.join(filter(None, parts))}}}\n"

        assert fits(text) == is_right(text), text


def test_only_what_other_files_say_is_not_in_the_schema() -> None:
    """Whether there is such a sync."""
    text = "plan: {from: [shop]}\n"

    assert (fits(text), is_right(text)) == (True, False)
