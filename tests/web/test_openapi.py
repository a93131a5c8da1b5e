"""The API's document, and whether the API keeps to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from syncer.web.api.documents import PATH
from tests.web.conftest import APPROVE_TOKEN, GUARDED, Served, small_site

pytestmark = pytest.mark.early

_TOKEN = {"Authorization": f"Bearer {APPROVE_TOKEN}"}


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a run."""
    with small_site(tmp_path_factory.mktemp("fuzzed")).served(GUARDED) as served:
        assert served.client(APPROVE_TOKEN).post("/api/v1/syncs/customers/runs?wait=30").status_code == 200
        yield served


def test_the_api_keeps_to_its_document(answering: Served) -> None:
    document = schemathesis.openapi.from_url(f"{answering.address}{PATH}", headers=_TOKEN)
    known = {"name": "customers", "run_id": answering.service.run_log.recent("customers", 1)[0].id}

    tried = {}
    for found in document.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        told: set[int] = set()
        for mode in GenerationMode:
            _try(operation, mode, known, told)
        tried[operation.label] = told

    assert len(tried) == 16
    # The one run there is, is over, and no sync knows an entity that is made up.
    well = {label for label, told in tried.items() if told & {200, 202}}
    assert set(tried) - well == {"POST /api/v1/runs/{run_id}/cancel", "GET /api/v1/explain"}
    assert all(told & {404, 422} for told in tried.values()), tried


def test_operations_have_plain_names_that_a_generated_client_shows(answering: Served) -> None:
    paths = answering.client(APPROVE_TOKEN).get(PATH).json()["paths"]

    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]

    assert len(set(names)) == len(names)
    assert {"list_syncs", "show_sync", "order_run", "cancel_run"} <= set(names)
    assert not [name for name in names if "api_v1" in name]


def _try(operation: Any, mode: GenerationMode, known: dict[str, str], told: set[int]) -> None:
    """Ask with what the document allows or does not; of names that are made up, and of such as are."""

    @settings(
        max_examples=5,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if case.query.get("wait"):
            case.query["wait"] = 0
        told.add(case.call_and_validate(headers=_TOKEN).status_code)
        if case.path_parameters:
            case.path_parameters.update({name: known[name] for name in case.path_parameters})
            answer = case.call(headers=_TOKEN)
            told.add(answer.status_code)
            assert answer.status_code < 500
            operation.validate_response(answer)

    ask()


def test_the_document_tells_of_no_secret_and_of_every_refusal(answering: Served) -> None:
    document = answering.client(APPROVE_TOKEN).get(PATH).json()

    assert len(document["paths"]) == 16
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert path.startswith("/api/v1/")
            assert {"401", "403", "422", "503"} <= operation["responses"].keys()
            assert operation["description"]
    assert "canary" not in str(document)


def test_the_documents_page_lists_every_request(answering: Served) -> None:
    client = answering.client(APPROVE_TOKEN)

    page = client.get("/api/v1/docs").text
    for path in client.get(PATH).json()["paths"]:
        assert path in page
