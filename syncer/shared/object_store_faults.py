"""Why a bucket could not be used, in words for people, from the text of the library that reaches it."""

from __future__ import annotations

import re

from syncer.model.errors import ObjectGoneError, PlaceError
from syncer.settings.snapshots import PlaceUrl
from syncer.shared.place import SETTING

#: The services' words for what went wrong, in their answers.
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
#: What they say where there is no such bucket.
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
#: What answers where a machine has a role: without one, nothing that knows the login.
_ROLES = ("169.254.169.254", "metadata.google.internal", "169.254.170.2", "/metadata/identity")
#: Signs in the text, and what they mean; the first that is there counts.
_FAULTS = (
    ("dns error", "the name of its host was not found"),
    ("ConnectionRefused", "the connection was refused"),
    ("certificate", "the certificate of the service is not trusted"),
    ("kind: Timeout", "there was no answer in time"),
    ("TimedOut", "there was no answer in time"),
    ("tcp connect error", "its host cannot be reached"),
    ("kind: Connect", "no connection came about"),
    ("kind: Builder", "its address cannot be used"),
    ("redirect", "the bucket is in another region, or its address is another one"),
)
#: What a login needs to be allowed, by the scheme.
_RIGHTS = {
    "s3": "`s3:PutObject`, `s3:GetObject`, `s3:DeleteObject`, `s3:AbortMultipartUpload` and `s3:ListBucket`",
    "gs": "the role Storage Object User",
    "az": "the role Storage Blob Data Contributor",
}
#: What of the URL may be wrong.
_PARTS = {"s3": "its name, `region` and `endpoint`", "gs": "its name and `endpoint`", "az": "its name and `endpoint`"}


def explained(error: Exception, url: PlaceUrl, what: str, name: str) -> PlaceError:
    """What to raise for an error of the library.

    Shapes:
        what: could not be done with the place, such as "written".
        name: of the object that may be gone; empty where there is none.
    """
    text = str(error)
    code, status = _first(_CODE, text), _first(_STATUS, text)
    start = f"{SETTING}: {url.text} cannot be {what}"
    if any(sign in text for sign in _NO_BUCKET):
        return PlaceError(
            f"{start}: there is no such {'container' if url.scheme == 'az' else 'bucket'}",
            hint=f"Make it, or correct {SETTING}: {_PARTS[url.scheme]}.",
        )
    if isinstance(error, FileNotFoundError) and name:
        return ObjectGoneError(f"{SETTING}: {url.text} has no object `{name}`")
    if any(sign in text for sign in _ROLES):
        return PlaceError(f"{start}: there is no login for it", hint=login_hint(url))
    if status in ("401", "403") or type(error).__name__ in ("UnauthenticatedError", "PermissionDeniedError"):
        return PlaceError(
            f"{start}: the login is refused, or may not do this ({code or status or 'it cannot be read'})",
            hint=f"{login_hint(url)} It needs {_RIGHTS[url.scheme]}.",
        )
    fault = next((words for sign, words in _FAULTS if sign in text), type(error).__name__)
    said = f"the service answered {' '.join(filter(None, (status, code)))}" if status else fault
    return PlaceError(
        f"{start}: {said}",
        hint=f"Check {SETTING}, {_PARTS[url.scheme]}, and whether this machine can reach the service.",
    )


def login_hint(url: PlaceUrl) -> str:
    """Where the login of a place comes from."""
    own = "SYNCER_SNAPSHOTS__SECRET" if url.scheme == "gs" else "SYNCER_SNAPSHOTS__KEY_ID and SYNCER_SNAPSHOTS__SECRET"
    return f"Check {own}, or the cloud's own variables and the role of this machine."


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
