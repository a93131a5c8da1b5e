"""The API's document, and whether the API keeps to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from syncer.web.openapi import PATH
from tests.web.conftest import GUARDED, RUN_TOKEN, Served, small_site

_TOKEN = {"Authorization": f"Bearer {RUN_TOKEN}"}


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a run."""
    with small_site(tmp_path_factory.mktemp("fuzzed")).served(GUARDED) as served:
        assert served.client(RUN_TOKEN).post("/api/v1/syncs/customers/runs?wait=30").status_code == 200
        yield served


@pytest.fixture
def document(answering: Served) -> schemathesis.BaseSchema:
    """What the service says of itself."""
    return schemathesis.openapi.from_url(f"{answering.address}{PATH}", headers=_TOKEN)


SCHEMA = schemathesis.pytest.from_fixture("document")


@SCHEMA.parametrize()
@settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_api_keeps_to_its_document(answering: Served, case: schemathesis.Case[Any]) -> None:
    if case.query.get("wait"):
        case.query["wait"] = 0
    case.call_and_validate(headers=_TOKEN)
    # Of names that are made up nothing is known: the same for what there is.
    known = {"name": "customers", "run_id": answering.service.run_log.recent("customers", 1)[0].id}
    if case.path_parameters:
        case.path_parameters.update({name: known[name] for name in case.path_parameters})
        answer = case.call(headers=_TOKEN)
        assert answer.status_code < 500
        case.operation.validate_response(answer)


def test_the_document_tells_of_no_secret_and_of_every_refusal(answering: Served) -> None:
    document = answering.client(RUN_TOKEN).get(PATH).json()

    assert len(document["paths"]) == 11
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert path.startswith("/api/v1/")
            assert {"401", "403", "422", "503"} <= operation["responses"].keys()
            assert operation["description"]
    assert "canary" not in str(document)


def test_the_documents_page_lists_every_request(answering: Served) -> None:
    client = answering.client(RUN_TOKEN)

    page = client.get("/api/v1/docs").text
    for path in client.get(PATH).json()["paths"]:
        assert path in page
