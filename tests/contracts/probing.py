"""What a look at a warehouse or store finds."""

from __future__ import annotations

from syncer.model.protocols import Probing, ProfileStore, Warehouse
from syncer.model.types import Probe


def probed(opened: Warehouse | ProfileStore) -> Probe:
    assert isinstance(opened, Probing)
    return opened.probe()
