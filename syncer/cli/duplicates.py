"""`syncer duplicates`: which people may be one person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer

from syncer.cli import output
from syncer.cli.arguments import Command, Json
from syncer.cli.exit_codes import FAILED
from syncer.cli.project import Project
from syncer.cli.show import Store
from syncer.model.errors import SelectionError
from syncer.model.spelling import did_you_mean, quoted

app = typer.Typer(no_args_is_help=True, help="Find people who may be one person.")

#: The pairs of a table.
_SHOWN = 50

By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="email|phone|name+birthday",
        help="What they have in common: identifiers or attributes, any of them, with + between several.",
    ),
]


@app.command(cls=Command)
def person(
    by: By,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help=f"How many pairs to show. Default: {_SHOWN}; with --json all."),
    ] = None,
    store: Store = "default",
    as_json: Json = False,
) -> None:
    """Show pairs of people who may be one person: the older one, and one to merge."""
    from syncer.model.duplicates import FindsDuplicates, compared_names

    names, stores = compared_names(by), Project().settings.stores
    if store not in stores:
        raise SelectionError(f"no store is called {quoted(store)}", hint=did_you_mean(store, stores))
    with closing(stores[store].open(store)) as opened:
        if not isinstance(opened, FindsDuplicates):
            hint = "Find them in the warehouse, by a query over the table that feeds the store."
            raise SelectionError(f"the store {quoted(store)} does not list its people", hint=hint)
        # One more than are shown, to know whether there are more.
        most = limit if as_json else (limit or _SHOWN) + 1
        with closing(opened.duplicates(names, most)) as pages:
            pairs = (pair for page in pages for pair in page.to_pylist())
            count = _print_json(pairs, "+".join(names)) if as_json else _print_table([*pairs], limit or _SHOWN)
        notes = [] if count else opened.why_no_duplicates(names)
    for note in notes:
        output.remark(f"note: {note}", as_json=as_json)
    raise typer.Exit(0 if count else FAILED)


def _print_json(pairs: Iterator[Mapping[str, Any]], by: str) -> int:
    count = 0
    for pair in pairs:
        output.json_line({**pair, "by": by})
        count += 1
    return count


def _print_table(pairs: Sequence[Mapping[str, Any]], most: int) -> int:
    shown = pairs[:most]
    if not shown:
        output.line("No two people have that in common.")
        return 0
    output.table(("keep", "merge"), [[_names(pair[side]) for side in ("keep", "merge")] for pair in shown])
    if len(pairs) > most:
        output.line(f"note: there are more than {most:,}; --limit shows more, --json all")
    return len(shown)


def _names(one: Mapping[str, str | None]) -> str:
    return ", ".join(value if kind == "email" else f"{kind} {value}" for kind, value in one.items() if value)
