"""The secrets of the settings, in every spelling in which a text may hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel, SecretStr

from syncer.model.query_variables import QueryVariables
from syncer.observability.redaction import UNMISTAKABLE
from syncer.settings.settings import Settings

#: A shorter line of a multi-line key identifies nothing.
_LINE = 16

#: Words that are in addresses of services and in ordinary messages.
_ORDINARY = frozenset({"alerts", "default", "localhost", "notify", "services", "syncer", "webhook", "webhooks"})

#: Parameters of connection URLs that hold secrets.
_SECRET_PARAMETERS = re.compile(r"pass|pwd|secret|token|key|credential|authkey|sig", re.IGNORECASE)


def query_variables(settings: Settings) -> QueryVariables:
    """The variables that a query may read; none contains a secret of the settings."""
    return QueryVariables(
        environment=settings.environment,
        allowed=tuple(settings.query_variables),
        secrets=frozenset(secrets_of(settings)),
    )


def secrets_of(settings: Settings) -> set[str]:
    """Every secret of the settings, in the spellings that it may have in a text."""
    found: set[str] = set()
    for secret in _secret_values(settings):
        found |= _parts(secret)
    for url in chain(settings.alerts.targets, *settings.alerts.targets_of_owners.values()):
        found |= _target_parts(url)
    if settings.alerts.ping_url is not None:
        found |= _target_parts(settings.alerts.ping_url.get_secret_value())
    return {secret for secret in found if secret.strip()}


def _secret_values(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secret_values(getattr(value, name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _secret_values(one)


def _parts(secret: str) -> set[str]:
    """The parts of one secret to hide: the login of a URL, all of anything else."""
    if "://" not in secret.partition("\n")[0]:
        lines = [line.strip() for line in re.split(r"\n|\\n", secret)]
        return {secret, secret.strip()} | {
            line for line in lines if len(line) >= _LINE and not line.startswith("-----")
        }
    found: set[str] = set()
    for url in secret.split():
        split = _split(url)
        found |= _spellings(split.password or "")
        parameters = parse_qsl(split.query)
        found |= _all_spellings(value for name, value in parameters if _SECRET_PARAMETERS.search(name))
    return found


def _target_parts(url: str) -> set[str]:
    """Of the address of a service: tokens are in its path, or stand where a user or a host does."""
    split = _split(url)
    login, _, host = split.netloc.rpartition("@")
    parts = [*split.path.split("/"), *(value for _, value in parse_qsl(split.query))]
    if "." not in host:
        # Remote hosts have names with dots.
        parts += [*host.split(":"), *login.split(":")]
    tokens = {part for part in parts if len(part) >= UNMISTAKABLE and part.lower() not in _ORDINARY}
    return {url} | _all_spellings(tokens) | _spellings(split.password or "")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        # Such as brackets that are not closed: all of it may be a secret.
        return urlsplit("")


def _all_spellings(texts: Iterable[str]) -> set[str]:
    return {spelling for text in texts for spelling in _spellings(text)}


def _spellings(text: str) -> set[str]:
    plain = unquote(text)
    return {text, plain, quote(plain, safe=""), quote_plus(plain)} if text else set()
