"""The arguments and options that several commands have, and how `--help` prints them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from syncer.model.errors import SelectionError
from syncer.model.spelling import quoted

Select = Annotated[list[str] | None, typer.Argument(help="A name, a glob, tag:x, entity:x, warehouse:x or result:x.")]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="SELECT", help="Leave out these syncs; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def until(text: str | timedelta, now: datetime) -> datetime:
    """The moment in the future that *text* says, aware UTC: an ISO date or time (UTC without a zone), or such as `12h`.

    Raises:
        SelectionError: it says none, or one that has passed.
    """
    if isinstance(text, timedelta):
        return now + text
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit() and len(text) <= 5:
            found = now + timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        else:
            read = datetime.fromisoformat(text)
            found = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SelectionError(
            f"{quoted(text)} is no time", hint="Write such as `2026-12-31`, `2026-12-31T18:00Z`, `12h`, `7d` or `2w`."
        ) from None
    if found <= now:
        raise SelectionError(f"{quoted(text)} has passed", hint="Name a time in the future.")
    return found


class Command(TyperCommand):
    """A command whose help names its arguments as `NAME`, without Python's types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line, such as `[OPTIONS] NAME`."""
        words = ((each.required, f"{name}{'...' if each.nargs != 1 else ''}") for each, name in self._arguments())
        return ["[OPTIONS]", *(word if required else f"[{word}]" for required, word in words)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments = [(name, each.help or "") for each, name in self._arguments()]
        options = [each.get_help_record(ctx) for each in self.get_params(ctx) if not isinstance(each, TyperArgument)]
        for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples, and the exit codes."""
        from syncer.cli.examples import EXAMPLES, exit_codes

        name = ctx.command_path.partition(" ")[2]
        if examples := EXAMPLES.get(name):
            with formatter.section("Examples"):
                for words, does in examples:
                    # Not wrapped: each line can be pasted.
                    formatter.write(f"  # {does}\n  {words}\n")
        with formatter.section("Exit codes"):
            formatter.write_dl(exit_codes(name))

    def _arguments(self) -> list[tuple[TyperArgument, str]]:
        return [
            (each, each.metavar or str(each.name).upper()) for each in self.params if isinstance(each, TyperArgument)
        ]
