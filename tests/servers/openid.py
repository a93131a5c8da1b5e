"""`oidc-provider-mock`, an OpenID Connect provider that others publish, over HTTP; it can be made to err."""

from __future__ import annotations

import base64
import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import flask
from authlib.deprecate import AuthlibDeprecationWarning
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

with warnings.catch_warnings():
    # It uses a module of Authlib that goes with Authlib 2.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    import oidc_provider_mock


#: The first part of a token that has no signature.
_UNSIGNED = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")


@dataclass(kw_only=True)
class OpenIdProvider:
    """A provider with people; everybody may log in as any of them."""

    port: int = 0
    #: What it says of itself instead.
    metadata: dict[str, Any] = field(default_factory=dict)
    #: What id tokens contain instead.
    claims: dict[str, Any] = field(default_factory=dict)
    #: How they are signed: by the key that is published, by another one, or not at all.
    signed: Literal["well", "by another", "not"] = "well"
    #: The requests for tokens: headers and form.
    asked: list[tuple[Mapping[str, str], Mapping[str, str]]] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}"

    def mend(self) -> None:
        """Forget faults and requests."""
        self.metadata, self.claims, self.signed, self.asked = {}, {}, "well", []

    def change(self, response: flask.Response) -> flask.Response:
        """Make the faults, if it is to err; pages ask no other host for a style sheet."""
        if response.mimetype == "text/html":
            response.set_data(response.get_data(as_text=True).replace("https://cdn.jsdelivr.net/", "data:text/css,"))
        if flask.request.path == "/.well-known/openid-configuration":
            response.set_data(json.dumps(response.get_json() | self.metadata))
        if flask.request.path != "/oauth2/token":
            return response
        self.asked.append((dict(flask.request.headers), dict(flask.request.form)))
        answer = response.get_json()
        if "id_token" in answer and (self.claims or self.signed != "well"):
            key = RSAKey.import_key(flask.g.oidc_provider_mock_storage.jwk.as_dict(is_private=True))
            token = jwt.decode(answer["id_token"], key)
            signing = RSAKey.generate_key(2048) if self.signed == "by another" else key
            changed = jwt.encode(token.header, token.claims | self.claims, signing)
            if self.signed == "not":
                changed = f"{_UNSIGNED}.{changed.split('.')[1]}."
            answer["id_token"] = changed
            response.set_data(json.dumps(answer))
        return response


@contextmanager
def provider(people: Mapping[str, Mapping[str, Any]]) -> Iterator[OpenIdProvider]:
    """A provider with people, by their names there, until the block ends; their claims are the values."""
    users = [oidc_provider_mock.User(sub=name, claims=dict(claims)) for name, claims in people.items()]
    app, made = oidc_provider_mock.app(user_claims=users, require_nonce=True), OpenIdProvider()
    app.after_request(made.change)
    server = make_server("localhost", 0, app, threaded=True)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
