"""S3 as moto speaks it, over HTTP on this machine."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

#: What logs in to a server that asks nobody for a right.
KEY_ID, SECRET = "AKIASYNCERTESTS00001", "s3cr3t-Pa55-of-the-bucket"
_ALL = ("PutObject", "GetObject", "DeleteObject", "AbortMultipartUpload", "ListBucket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """An empty bucket of a test's own."""

    endpoint: str
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}/of/syncer?endpoint={self.endpoint}&region=eu-central-1"

    def user(self, *may: str) -> tuple[str, str]:
        """The access key of a new user who may do that in S3, by default all that a place needs."""
        user = f"u{uuid4().hex}"
        allowed = [f"s3:{action}" for action in may or _ALL]
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
        self._iam("CreateUser", UserName=user)
        self._iam("PutUserPolicy", UserName=user, PolicyName="own", PolicyDocument=json.dumps(policy))
        made = self._iam("CreateAccessKey", UserName=user)
        key_id, secret = re.findall(r"<(?:AccessKeyId|SecretAccessKey)>([^<]+)<", made)
        return key_id, secret

    def ask_for_rights(self, *, asked: bool = True) -> None:
        """Let the server look at keys, signatures and rights from now on, or not any more."""
        self._call("POST", "/moto-api/reset-auth", b"0" if asked else b"inf")

    def _iam(self, action: str, **parameters: str) -> str:
        body = urlencode({"Action": action, "Version": "2010-05-08", **parameters}, quote_via=quote)
        return self._call("POST", "/", body.encode(), "iam", "application/x-www-form-urlencoded")

    def _call(self, method: str, path: str, body: bytes, service: str = "s3", kind: str = "text/plain") -> str:
        scope = f"Credential=key/20260101/us-east-1/{service}/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none",
            "Content-Type": kind,
        }
        request = urllib.request.Request(self.endpoint + path, method=method, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where moto listens, one for each worker of pytest-xdist."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str) -> Iterator[Bucket]:
    made = Bucket(endpoint=s3_endpoint, name=f"b{uuid4().hex}")
    made._call("PUT", f"/{made.name}", b"")
    yield made
    made.ask_for_rights(asked=False)
