"""Posts what was posted before, as fast as the same client does it with nothing else to do; a program of its own."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

#: As many requests at once as the store has.
_AT_ONCE = 8


def main(bodies_file: str, address: str, user: str, password: str) -> None:
    """Print the seconds that posting every line of *bodies_file* took."""
    bodies = Path(bodies_file).read_bytes().splitlines()
    with httpx2.Client(base_url=address, auth=(user, password), timeout=60) as client:

        def post(body: bytes) -> int:
            response = client.post("/api/v2/batch", content=body, headers={"Content-Type": "application/json"})
            return response.status_code

        begun = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            statuses = set(pool.map(post, bodies))
        seconds = time.monotonic() - begun
    assert statuses == {200}, statuses
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
