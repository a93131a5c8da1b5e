"""Calls that never reach Customer.io: the error says why, in words."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.customerio import connection
from connectors.customerio.options import CustomerIOOptions
from syncer.model.errors import StoreError
from syncer.model.types import Identity
from syncer.settings.registry import open_store
from tests.contracts.batches import PEOPLE

LATER = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 1)


def error_at(address: str) -> str:
    """The message of a store whose API would be there."""
    options = CustomerIOOptions(site_id="site", api_key="key", track_url=address)  # type: ignore[arg-type]
    store = open_store("crm", "customerio://us", identity=Identity.ID, options=options)
    with closing(store), pytest.raises(StoreError) as raised:
        store.check(PEOPLE)
    assert "canary" not in str(raised.value)
    return raised.value.message


@contextmanager
def listening(answer: bytes = b"", *, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that reads a little, sends *answer* and hangs up; gives its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = server.accept()
            except OSError:
                return
            with closing(accepted):
                try:
                    one = context.wrap_socket(accepted, server_side=True) if context else accepted
                    one.recv(4096)
                    one.sendall(answer)
                    one.close()
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


def certificate(folder: Path, *, name: str, last_day: datetime) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The context of a server with a new certificate, and one of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(datetime(2024, 1, 1, tzinfo=UTC)).not_valid_after(last_day)
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    file = folder / "server.pem"
    file.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


@pytest.mark.parametrize(
    ("name", "last_day", "words"),
    [
        ("localhost", datetime(2024, 1, 2, tzinfo=UTC), "the certificate has expired"),
        ("canary.example", LATER, "the certificate is for another name"),
    ],
)
def test_a_certificate_that_is_not_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, last_day: datetime, words: str
) -> None:
    server, client = certificate(tmp_path, name=name, last_day=last_day)
    monkeypatch.setattr(connection, "_certificates", lambda _: client)

    with listening(context=server) as port:
        assert error_at(f"https://localhost:{port}") == f"store `crm`: Customer.io did not answer: {words}"


def test_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, name="localhost", last_day=LATER)

    with listening(context=server) as port:
        assert error_at(f"https://localhost:{port}").endswith("did not answer: the certificate is self-signed")


def test_a_host_that_does_not_exist() -> None:
    assert "did not answer: the name of the host" in error_at("https://canary.invalid")


def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://canary:canary@127.0.0.1:{port}")
        assert error_at("https://host.example").endswith("the proxy refuses the connection: 407")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALL_PROXY", "socks5://canary:canary@host:1", "a SOCKS proxy, which needs the package `socksio`"),
        ("ALL_PROXY", "nonsense://canary", "is no URL such as `http://HOST:3128`"),
        ("HTTPS_PROXY", "canary:80x", "is no URL such as `http://HOST:3128`"),
        ("SSL_CERT_FILE", "/canary", "the certificates to trust cannot be read"),
    ],
)
def test_what_the_environment_names_and_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    connection._certificates.cache_clear()
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, value)
    options = CustomerIOOptions(site_id="site", api_key="key")  # type: ignore[arg-type]

    with pytest.raises(StoreError) as raised:
        open_store("crm", "customerio://us", identity=Identity.ID, options=options)

    assert said in raised.value.message
    assert "_" in raised.value.hint
    assert "canary" not in f"{raised.value}{raised.value.hint}"


def test_nothing_that_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    assert error_at(f"http://127.0.0.1:{port}").endswith("did not answer: the connection was refused")


def test_a_server_that_hangs_up() -> None:
    with listening() as port:
        assert error_at(f"http://127.0.0.1:{port}").endswith("the server ended the connection without an answer")
