"""Takes secrets out of text."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What stands in a secret's place.
REDACTED = "[secret]"

#: A shorter secret, in characters, is only taken out where it is a word of its own.
UNMISTAKABLE = 6


class Redactor:
    """Replaces every secret in a text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """*secrets*: in every spelling that they may have; may be empty."""
        longest_first = sorted(secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_pattern, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """*text* without secrets."""
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)


def _pattern(secret: str) -> str:
    pattern = re.escape(secret)
    return pattern if len(secret) >= UNMISTAKABLE else rf"(?<!\w){pattern}(?!\w)"
