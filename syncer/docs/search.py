"""Searching the manual: sections that have every word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from syncer.docs.pages import ROOT, Section, page
from syncer.docs.topics import Topic, topics

#: Characters of an excerpt before and after the first word found.
_AROUND = 90

_MOST = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A section that contains the words."""

    topic: str
    heading: str
    url: str
    #: Text around the first word: `(part, whether it is one of the words)`.
    excerpt: Sequence[tuple[str, bool]]


def search(text: str) -> list[Hit]:
    """The sections with every word of *text*, the best first; none if it has no word."""
    words = text.casefold().split()
    if not words:
        return []
    ranked = [
        (_rank(words, topic, section), topic, section)
        for topic in topics().values()
        for section in page(topic.name).sections
    ]
    found = sorted((entry for entry in ranked if entry[0]), key=lambda entry: -entry[0])
    return [
        Hit(
            topic=topic.title,
            heading=section.heading,
            url=f"{ROOT}/{topic.name}{'' if section.level == 1 else f'#{section.anchor}'}",
            excerpt=_excerpt(section.text, words),
        )
        for _, topic, section in found[:_MOST]
    ]


def _rank(words: Sequence[str], topic: Topic, section: Section) -> float:
    """0 if a word is missing; words in a heading count more than in the text, and short texts more than long ones."""
    title, heading, body = topic.title.casefold(), section.heading.casefold(), section.text.casefold()
    if not all(word in body or word in heading for word in words):
        return 0
    return sum(
        10 * (word in heading) + 5 * (word in title) + min(body.count(word), 5) + 1 / (1 + len(body)) for word in words
    )


def _excerpt(text: str, words: Sequence[str]) -> list[tuple[str, bool]]:
    pattern = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
    first = pattern.search(text)
    at = first.start() if first else 0
    start, end = max(0, at - _AROUND), at + _AROUND
    shown = f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
    parts = re.split(f"({pattern.pattern})", shown, flags=re.IGNORECASE)
    return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]
