"""The manual on a terminal, as HTML, and searched."""

from __future__ import annotations

import re
import sys

import pytest

from syncer.docs import pages, topics
from syncer.docs.search import search
from syncer.docs.topics import FOLDER
from syncer.model.errors import SelectionError
from tests.cli import forked
from tests.docs.test_docs import printed


def test_a_topic_is_printed_as_markdown_where_nobody_looks() -> None:
    assert printed("syncer docs promise", FOLDER) == (FOLDER / "promise.md").read_text()


def test_a_terminal_shows_a_topic_laid_out() -> None:
    shown = printed(f"TERM=xterm script -qec '{sys.executable} -m syncer docs promise' /dev/null", FOLDER)

    assert "What Syncer promises" in shown
    assert "\x1b[" in shown
    assert "**" not in shown


def test_without_a_topic_all_are_listed() -> None:
    listed = printed("syncer docs", FOLDER)

    assert all(re.search(rf"(?m)^  {name} +\S", listed) for name in topics.topics())


@pytest.mark.parametrize(
    ("word", "meant"),
    [("promis", "promise"), ("alerts", "monitoring"), ("sqlite", "sqlite-store")],
)
def test_a_topic_that_there_is_not_is_an_error_with_what_was_meant(word: str, meant: str) -> None:
    with pytest.raises(SelectionError, match=f"no topic `{word}`") as caught:
        topics.topic(word)

    assert caught.value.hint == f"Did you mean `{meant}`?"
    assert forked.run("docs", word, folder=FOLDER, environment={}).code == 2


@pytest.mark.parametrize("name", topics.topics())
def test_every_topic_has_a_title_a_summary_and_no_raw_marks(name: str) -> None:
    topic, page = topics.topic(name), pages.page(name)

    assert topic.title
    assert topic.summary
    assert page.html.startswith("<h1")
    text = re.sub(r"(?s)<pre.*?</pre>|<code>.*?</code>|<[^>]*>", "", page.html)
    assert not re.findall(r"```|\*\*|\]\(|generated:", text)
    assert len({section.anchor for section in page.sections}) == len(page.sections)


def test_links_and_pictures_lead_to_the_service() -> None:
    assert 'href="/docs/production#snapshots-of-one-machine"' in pages.page("promise").html
    assert 'src="/docs/page.png"' in pages.page("pages").html
    assert 'href="https://github.com/caronc/apprise/wiki"' in pages.page("monitoring").html


def test_a_search_finds_the_sections_with_every_word_headings_first() -> None:
    hits = search("bytes BILLED")

    assert hits[0].url == "/docs/bigquery#bytes-billed"
    assert ("bill", True) not in hits[0].excerpt
    assert any(is_word for _, is_word in search("sslmode")[0].excerpt)
    assert search("") == search("no-such-word-anywhere") == []
