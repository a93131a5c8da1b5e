"""Lets Syncer log all that there is to log, and wait little."""

from __future__ import annotations

import logging

from connectors.customerio import connection


def log_everything() -> None:
    """Write what is logged from now on to `everything.log`."""
    logging.basicConfig(filename="everything.log", level=logging.DEBUG)
    for name in ("httpx2", "httpcore2", "tenacity", "pyrate_limiter", "syncer", "connectors"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    for part in ("connection", "http11", "http2"):
        logging.getLogger(f"httpcore2.{part}").setLevel(logging.DEBUG)
    connection.FIRST_WAIT, connection.ATTEMPTS = 0.002, 3
