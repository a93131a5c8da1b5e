"""The command line: arguments, exit codes, and what people and scripts read."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from syncer import __version__
from syncer.cli import (
    cancel,
    completion,
    connections,
    docs,
    duplicates,
    files,
    forget,
    lsp,
    new,
    output,
    plans,
    rejected,
    runs,
    serve,
    show,
    signals,
    snapshots,
    state,
    validation,
    verify,
    worker,
)
from syncer.cli.arguments import Command
from syncer.cli.exit_codes import CODES, outcome_of


class _Commands(TyperGroup):
    """Every command; what is wrong with an option or an argument is said in our words."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each command with the first sentence of its help, whole."""
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, (found.help or "").partition("\n")[0]) for name, found in named if found])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as exc:
            from pydantic import ValidationError

            from syncer.model.spelling import visible
            from syncer.model.wrong_values import in_words

            if isinstance(exc.__cause__, ValidationError):
                exc.message = visible(in_words(exc.__cause__.errors()[0]))
            raise


app = typer.Typer(
    name="syncer",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: dict[str, Callable[..., None]] = {
    "init": files.init,
    "new": new.new,
    "validate": validation.validate,
    "list": files.list_syncs,
    "plan": plans.plan,
    "plans": plans.list_plans,
    "run": runs.run,
    "serve": serve.serve,
    "worker": worker.worker,
    "workers": worker.workers,
    "verify": verify.verify,
    "runs": state.show_runs,
    "rejected": rejected.rejected,
    "explain-error": validation.explain_error,
    "cancel": cancel.cancel,
    "pause": state.pause,
    "resume": state.resume,
    "reset": state.reset,
    "connections": connections.connections,
    "alerts": connections.alerts,
    "schema": files.schema,
    "docs": docs.docs,
    "completion": completion.completion,
    "lsp": lsp.lsp,
}

for name, command in COMMANDS.items():
    app.command(name, cls=Command)(command)
app.add_typer(show.app, name="show")
app.add_typer(show.explain, name="explain")
app.add_typer(duplicates.app, name="duplicates")
app.add_typer(forget.app, name="forget")
app.add_typer(snapshots.app, name="snapshot")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"syncer {__version__}")
        raise typer.Exit


def _start_in(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        os.chdir(folder)
    except OSError as exc:
        raise typer.BadParameter(f"{folder}: {exc.strerror}") from None


@app.callback()
def _syncer(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("-C", metavar="DIR", callback=_start_in, is_eager=True, help="Work as if started in this folder."),
    ] = None,
) -> None:
    """Query a warehouse with SQL files, and send only what changed to a profile store.

    `syncer docs` shows the manual.
    """


#: What parses the arguments.
PARSER = typer.main.get_command(app)


def main() -> NoReturn:
    """Run one command of this process's arguments, and exit."""
    # What was imported stays, and reading a result creates millions of small objects without cycles: collect rarely.
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 50, 100)
    output.prepare()
    signals.install()
    try:
        PARSER(prog_name="syncer")
    except Exception as exc:
        output.print_exception(exc)
        sys.exit(CODES[outcome_of(exc)])
    finally:
        output.flush()
        if (code := signals.exit_code()) is not None:
            # After a cancelled query, DuckDB complains of leftover objects at an ordinary exit.
            os._exit(code)
        # Python would look through everything once more before it ends.
        gc.freeze()
    sys.exit()
