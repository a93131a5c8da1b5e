"""The vendor's published definitions of its APIs, where `shared/contracts` beside the repository has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_FOLDERS = [parent / "shared" / "contracts" for parent in Path(__file__).resolve().parents]
_FILES = {"track": "customerio-track.openapi.json", "pipelines": "customerio-pipelines.openapi.json"}
#: Items of a batch that are looked at, about.
_READ = 100
_BATCHES = {"track": "/api/v2/batch", "pipelines": "/v1/batch"}


def folder() -> Path | None:
    """Where the definitions lie; None where they do not."""
    return next((folder for folder in _FOLDERS if (folder / _FILES["track"]).is_file()), None)


def faults_of(api: str, posted: Any, path: str = "") -> list[str]:
    """What the definitions say against what was posted to a path; nothing where they are not there.

    Where there is no path it is a batch, of which a part is read.
    """
    validator, read = _validator(api, path or _BATCHES[api]), posted
    if not path:
        items = posted["batch"]
        read = {**posted, "batch": items[:: len(items) // _READ + 1]}
    return [error.message[:300] for error in validator.iter_errors(read)] if validator else []


def typed_members(api: str, of: str) -> list[str]:
    """The members that the definitions name in objects called *of*; nothing where they are not there."""
    found = folder()
    if found is None:
        return []
    return sorted(set(_members(json.loads((found / _FILES[api]).read_text())["components"]["schemas"], of)))


def _members(node: Any, of: str) -> Iterator[str]:
    if isinstance(node, dict):
        described = node.get(of)
        if isinstance(described, dict):
            yield from described.get("properties", {})
        for child in node.values():
            yield from _members(child, of)
    elif isinstance(node, list):
        for child in node:
            yield from _members(child, of)


def document(api: str) -> dict[str, Any] | None:
    """The definition of an API, with its paths as a store asks for them; None where it does not lie."""
    found = folder()
    if found is None:
        return None
    document: dict[str, Any] = json.loads((found / _FILES[api]).read_text())
    # The branches for a person in an object's relationships require nothing, so that each of them always holds; and
    # whoever is known to the Pipelines API fits the branch for the unknown too.
    _one_to_any(document, every=api == "pipelines")
    # The branch for any anonymous event takes pages and screens too.
    _one_to_any(document["components"]["schemas"].get("anonymousEventsRequest"), every=True)
    if api == "pipelines":
        document["paths"] = {f"/v1{path}": operations for path, operations in document["paths"].items()}
    document["servers"] = []
    return document


@cache
def _validator(api: str, path: str) -> Draft202012Validator | None:
    found = document(api)
    if found is None:
        return None
    body = found["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return Draft202012Validator({**body, "components": found["components"]})


def _one_to_any(node: Any, *, every: bool) -> None:
    if isinstance(node, dict):
        branches = node.get("oneOf")
        if isinstance(branches, list) and (every or not any("required" in json.dumps(branch) for branch in branches)):
            node["anyOf"] = node.pop("oneOf")
        for child in list(node.values()):
            _one_to_any(child, every=every)
    elif isinstance(node, list):
        for child in node:
            _one_to_any(child, every=every)
