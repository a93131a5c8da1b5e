"""What `--help` prints."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand


class Command(TyperCommand):
    """A command whose help names its arguments as `NAME`, without Python's types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line, such as `[OPTIONS] NAME`."""
        words = [f"{name}{'...' if each.nargs != 1 else ''}" for each, name in self._arguments()]
        needed = [each.required for each, _ in self._arguments()]
        return [
            "[OPTIONS]",
            *(word if is_needed else f"[{word}]" for word, is_needed in zip(words, needed, strict=True)),
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        arguments = [(name, each.help or "") for each, name in self._arguments()]
        options = [each.get_help_record(ctx) for each in self.get_params(ctx) if not isinstance(each, TyperArgument)]
        for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _arguments(self) -> list[tuple[TyperArgument, str]]:
        return [(each, each.metavar or str(each.name)) for each in self.params if isinstance(each, TyperArgument)]
