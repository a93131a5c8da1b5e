"""The setting of who makes the runs that a service orders."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo


class RunsBy(enum.StrEnum):
    """Who makes the runs that a service orders."""

    SERVICE = "service"
    WORKERS = "workers"


def _checked(given: RunsBy, info: ValidationInfo) -> RunsBy:
    if given is not RunsBy.WORKERS:
        return given
    run_log, missing = info.data.get("database_url"), list[str]()
    if run_log is not None and not run_log.get_secret_value().startswith(("postgresql:", "postgresql+", "postgres:")):
        missing.append("SYNCER_DATABASE_URL to `postgresql://USER:PASSWORD@HOST/DATABASE`")
    if "snapshots_url" in info.data and not info.data["snapshots_url"]:
        missing.append("SYNCER_SNAPSHOTS_URL to `database` or another place that the machines share")
    if missing:
        raise ValueError(f"workers need what all machines reach; set {' and '.join(missing)}")
    return given


#: For a field behind `database_url` and `snapshots_url`.
Runs = Annotated[RunsBy, AfterValidator(_checked)]
