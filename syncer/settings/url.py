"""The URLs of connections: whether they are ones, where their files lie, and how people may see them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from syncer.settings import registry

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_SECRET_WORDS = re.compile(r"pass|pwd|secret|token|key|credential|auth|sas|sig", re.IGNORECASE)
_MASK = "***"


def checked(url: str) -> str:
    """*url* with its scheme in lower case and no blanks around it.

    Raises:
        ValueError: it is no URL; the text says why and holds no part of it.
    """
    url = url.strip()
    scheme = _URL.match(url)
    if scheme is None:
        raise ValueError("is not a URL such as `postgresql://USER:PASSWORD@HOST/DATABASE`")
    if not url.isprintable() or " " in url:
        raise ValueError("holds a blank or a control character; write it as `%20` or the like")
    try:
        urlsplit(url).port  # noqa: B018 - looking at it is the check
    except ValueError:
        # Its text holds what would be the port, which may be the start of the password.
        raise ValueError(
            "cannot be read; write `/`, `?`, `#`, `@` and `:` in a password as `%2F` and the like"
        ) from None
    return scheme["scheme"].lower() + url[scheme.end("scheme") :]


def beside(url: str, folder: Path) -> str:
    """*url*, where it names a file by a relative path, with the path that this has from *folder*."""
    scheme, _, rest = url.partition("://")
    path, mark, query = rest.partition("?")
    if not registry.names_file(url) or not path.startswith("/") or path in {"/", "/:memory:"}:
        return url
    # The first slash ends the empty host: `///file` is relative, `////file` is not.
    return f"{scheme}:///{folder / path[1:]}{mark}{query}"


def shown(url: str) -> str:
    """*url* for people: without password, and without values in its query that look secret."""
    parts = urlsplit(url)
    parameters = [parameter for parameter in parts.query.split("&") if parameter]
    if any("@" in part for part in (parts.path, parts.fragment, *(p for p in parameters if "=" not in p))):
        # A password that is not encoded was taken for something else.
        return f"{parts.scheme}://{_MASK}"
    login, at, host = parts.netloc.rpartition("@")
    query = "&".join(_shown_parameter(parameter) for parameter in parameters)
    return f"{parts.scheme}://{login.partition(':')[0]}{at}{host}{parts.path}{'?' if query else ''}{query}"


def _shown_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if not equals:
        return _MASK
    return f"{name}={_MASK}" if _SECRET_WORDS.search(name) else parameter
