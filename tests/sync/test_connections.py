from __future__ import annotations

from typing import Any

from syncer.sync import connections


def test_whatever_goes_wrong_with_one_connection_is_its_answer() -> None:
    def unbuildable() -> Any:
        raise LookupError("canary")

    found = connections.tested(
        connections.Connection(kind="store", name="crm", url="customerio://us", open=unbuildable)
    )

    assert found.error is not None
    assert str(found.error) == "unexpected LookupError; this is a defect of Syncer"
