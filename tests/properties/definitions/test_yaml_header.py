from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncer.definitions import file as definition_file
from tests.definitions.test_yaml_header import COLLECTION, PATH, PERSON


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    file = definition_file.parse(PATH, data)

    assert file.errors


HEADER_WORDS = st.sampled_from(
    [
        "entity", "person", "limits", "attributes", "key", "schedule", "cron", ":", " ", "\n", "  ", "{", "}", "[", "]",
        ",", "- ", "'", '"', "*", "&", "!", "#", "%", "|", ">", "\\", "\t", "id", "every 1 hour", "15%", "*/", "/*",
        "---", "...", "%YAML 9.9", "? ", "\u2028", "\x85", "é", "{{", "}}", "{%", "%}", "last_sync_time", "\ufeff",
    ]
)  # fmt: skip


@given(
    st.sampled_from(["", PERSON, COLLECTION]),
    st.lists(HEADER_WORDS, max_size=25).map("".join),
    st.lists(HEADER_WORDS, max_size=8).map("".join),
)
def test_no_header_raises_and_every_error_lies_in_the_file(fields: str, header: str, query: str) -> None:
    text = f"/* sync\n{fields}{header}\n*/\n{query}"

    file = definition_file.parse(PATH, text.encode())

    assert (file.definition is None) == bool(file.errors)
    assert all(1 <= error.line <= text.count("\n") + 1 for error in file.errors)
