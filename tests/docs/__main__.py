"""Updates the generated parts of the manual: `python -m tests.docs`."""

from __future__ import annotations

from tests.docs.completion import WORDS, words
from tests.docs.tables import pages, parts, updated

if __name__ == "__main__":
    WORDS.write_text(words())
    with parts() as made:
        for path in pages():
            path.write_text(updated(path.read_text(), made))
