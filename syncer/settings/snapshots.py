"""The settings of snapshots that several machines share: where they are kept, and the login for that place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo

from syncer.model.spelling import did_you_mean, listed, quoted

#: The place that is the run log's own database.
DATABASE = "database"

#: Scheme of a URL to the parameters that it may have.
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "s3": ("endpoint", "region"),
    "gs": ("endpoint",),
    "az": ("endpoint",),
    "file": (),
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_ENDPOINT = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?")
_REGION = re.compile(r"[A-Za-z0-9-]+")
_LOGIN = "contains a login; set SYNCER_SNAPSHOTS__KEY_ID and SYNCER_SNAPSHOTS__SECRET instead"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceUrl:
    """A place that is not the run log's database."""

    #: `s3`, `gs`, `az` or `file`.
    scheme: str
    #: Of a service; empty for a folder.
    bucket: str = ""
    #: What the names of objects begin with in the bucket, without slashes at its ends; of a folder, its absolute path.
    path: str = ""
    #: Where the service is, if it is not the cloud's own.
    endpoint: str = ""
    region: str = ""

    @property
    def text(self) -> str:
        """The URL, which holds no secret; always spelled the same way."""
        path = quote(self.path if self.scheme == "file" else f"/{self.path}".rstrip("/"))
        given = {"endpoint": self.endpoint, "region": self.region}
        query = "&".join(f"{name}={value}" for name, value in given.items() if value)
        return f"{self.scheme}://{self.bucket}{path}{'?' if query else ''}{query}"


def parsed(url: str) -> PlaceUrl:
    """The place that a URL names.

    Raises:
        ValueError: it names none; the message says why, without any part of the URL that may be secret.
    """
    scheme, colon, _ = url.partition("://")
    if scheme.lower() not in _PARAMETERS:
        known = (DATABASE, *(f"{one}://" for one in _PARAMETERS))
        hint = did_you_mean(f"{scheme}{colon}", known, or_list=False) if re.fullmatch(r"[\w+-]+", scheme) else ""
        raise ValueError(f"should be `database` or begin with {listed(known[1:])}{f'. {hint}' if hint else ''}")
    if not url.isprintable() or " " in url:
        raise ValueError("contains a blank or a control character; encode it, a blank as `%20`")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("cannot be read as a URL") from None
    if "@" in parts.netloc or ":" in parts.netloc:
        raise ValueError(_LOGIN)
    if parts.fragment:
        raise ValueError("contains a `#`; encode it as `%23`")
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    if any(segment in (".", "..") or re.search(r"[/\x00-\x1f]", segment) for segment in segments):
        raise ValueError("has a path that cannot be used; write it without `.` and `..`")
    return _folder(parts, segments) if scheme.lower() == "file" else _bucket(parts, segments)


def _folder(parts: SplitResult, segments: list[str]) -> PlaceUrl:
    if parts.netloc or not segments or parts.query:
        raise ValueError("should be the absolute path of a folder, such as `file:///mnt/snapshots`")
    return PlaceUrl(scheme="file", path="/" + "/".join(segments))


def _bucket(parts: SplitResult, segments: list[str]) -> PlaceUrl:
    scheme = parts.scheme.lower()
    if not _BUCKET.fullmatch(parts.netloc):
        what = "container" if scheme == "az" else "bucket"
        raise ValueError(f"names no {what}; it should be such as `{scheme}://{what.upper()}/syncer`")
    found = parse_qsl(parts.query, keep_blank_values=True)
    known = _PARAMETERS[scheme]
    for name, value in found:
        if name not in known:
            shown = quoted(name) if re.fullmatch(r"\w{1,30}", name) else "that Syncer does not know"
            raise ValueError(f"has a parameter {shown}; it may have {listed(known, last='and')}")
        rule, example = (_ENDPOINT, "https://minio.internal:9000") if name == "endpoint" else (_REGION, "eu-central-1")
        if not rule.fullmatch(value):
            raise ValueError(f"has a parameter `{name}` that cannot be used; it should be such as `{example}`")
    if len(dict(found)) < len(found):
        raise ValueError("has a parameter twice")
    return PlaceUrl(scheme=scheme, bucket=parts.netloc, path="/".join(segments), **dict(found))


def is_endpoint(url: str) -> bool:
    """Whether *url* can be where a service is."""
    return _ENDPOINT.fullmatch(url) is not None


def _checked(url: str, info: ValidationInfo) -> str:
    text = url.strip()
    text = DATABASE if text.lower() == DATABASE else parsed(text).text
    run_log = info.data.get("database_url")
    if run_log is not None and not run_log.get_secret_value().startswith(("postgresql:", "postgresql+", "postgres:")):
        raise ValueError(
            "needs a run log that the machines share; set SYNCER_DATABASE_URL to `postgresql://USER:PASSWORD@HOST/DATABASE`"
        )
    return text


#: `database`, or a URL as `PlaceUrl.text` spells it. For a field behind `database_url`.
Place = Annotated[str, AfterValidator(_checked)]


class SnapshotSettings(BaseModel):
    """The login for the place where shared snapshots are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    key_id: str | None = Field(
        default=None,
        description="the login for that place: the id of an access key for `s3://`, the storage account for `az://`. "
        "Default: what [the variables and roles of the cloud](production.md#where-snapshots-are-kept) give",
    )
    secret: SecretStr | None = Field(
        default=None,
        description="its secret: of the access key for `s3://`, the account's key for `az://`, the JSON key of a "
        "service account for `gs://`",
    )


def _fitting(given: SnapshotSettings, info: ValidationInfo) -> SnapshotSettings:
    scheme = (info.data.get("snapshots_url") or "").partition(":")[0]
    has_id, has_secret = given.key_id is not None, given.secret is not None
    match scheme:
        case "s3" if has_id is not has_secret:
            raise ValueError("needs both, SYNCER_SNAPSHOTS__KEY_ID and SYNCER_SNAPSHOTS__SECRET, for an `s3://` URL")
        case "gs" if has_id:
            raise ValueError("is not for `gs://` URLs: SYNCER_SNAPSHOTS__SECRET has the id in its JSON")
        case "file" | "database" if has_id or has_secret:
            raise ValueError("has no meaning for this SYNCER_SNAPSHOTS_URL, which needs no login of its own")
    return given


#: For a field behind `snapshots_url`.
Login = Annotated[SnapshotSettings, AfterValidator(_fitting)]
