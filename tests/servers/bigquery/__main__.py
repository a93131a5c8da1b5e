"""Runs the stand-in until it is killed; prints the ports of its two APIs as JSON."""

from __future__ import annotations

import json

from tests.servers.bigquery.jobs import Jobs
from tests.servers.bigquery.rest import rest_server
from tests.servers.bigquery.storage import storage_server

if __name__ == "__main__":
    jobs = Jobs()
    rest = rest_server(jobs)
    storage, storage_port = storage_server(jobs)
    print(json.dumps([rest.server_address[1], storage_port]), flush=True)
    rest.serve_forever()
