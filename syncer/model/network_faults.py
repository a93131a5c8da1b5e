"""Why a call over the network failed, in words, without the address or anything else that a driver's text may hold."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator

#: OpenSSL's numbers for what is wrong with a certificate (X509_V_ERR_…).
_CERTIFICATE_FAULTS = {
    9: "the certificate is not valid yet; is this machine's clock right?",
    10: "the certificate has expired",
    18: "the certificate is self-signed",
    19: "the certificate's chain ends in an authority that is not trusted",
    20: "the certificate is from an authority that is not trusted",
    21: "the certificate is from an authority that is not trusted",
    62: "the certificate is for another name",
    64: "the certificate is for another address",
}
#: By class; the first that fits counts.
_FAULTS: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "the name of the host was not found"),
    (ssl.SSLError, "no secure connection came about (TLS)"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was reset"),
    (BrokenPipeError, "the connection was reset"),
    (TimeoutError, "there was no answer in time"),
)


def cause(error: BaseException) -> str:
    """Why a call failed, as far as the *error* and those that it came from show; else the name of its class."""
    chain = list(_chain(error))
    inner = next((words for one in reversed(chain) if (words := _in_words(one))), "")
    if any(type(one).__name__ == "ProxyError" or "Tunnel connection failed" in str(one) for one in chain):
        if inner:
            return f"the proxy cannot be reached: {inner}"
        status = next((found[0] for one in chain if (found := re.search(r"\b[345]\d\d\b", str(one)))), "")
        return f"the proxy refuses the connection{status and f': {status}'}"
    return inner or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """*error*, and what it came from."""
    seen: list[BaseException | None] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        yield one
        wrapped = getattr(one, "reason", None)
        one = wrapped if isinstance(wrapped, BaseException) else one.__cause__ or one.__context__


def _in_words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_FAULTS.get(error.verify_code, "the certificate is not valid")
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return "the name of the host cannot be looked up at the moment"
    name = type(error).__name__
    if "Timeout" in name:
        return "there was no answer in time"
    if name in ("RemoteProtocolError", "RemoteDisconnected"):
        return "the server ended the connection without an answer"
    return next((words for kind, words in _FAULTS if isinstance(error, kind)), "")
