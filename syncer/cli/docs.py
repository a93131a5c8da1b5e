"""`syncer docs`: the manual on a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from syncer.cli import output


def docs(topic: Annotated[str, typer.Argument(help="The topic to show. Default: a list of all topics.")] = "") -> None:
    """Read the manual."""
    from syncer.docs import topics

    if topic:
        _print(topics.topic(topic).text)
        return
    known = topics.topics()
    width = max(map(len, known))
    for heading, names in topics.CONTENTS.items():
        output.line(heading)
        for name in names:
            output.line(f"  {name:{width}}  {known[name].title}")
        output.line()
    output.line("Read one with `syncer docs TOPIC`, such as `syncer docs first-steps`.")


def _print(text: str) -> None:
    """Print Markdown: laid out on a terminal, unchanged elsewhere."""
    if not output.is_terminal():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(width=min(Console().width, 100)).print(Markdown(text))
