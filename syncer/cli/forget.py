"""`syncer forget`: one person, out of everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output
from syncer.cli.arguments import Command, Json
from syncer.cli.project import Project, user
from syncer.model.errors import SelectionError
from syncer.model.spelling import did_you_mean, identifier, quoted
from syncer.model.types import PersonKey

if TYPE_CHECKING:
    from syncer.sync.forgetting import Request

app = typer.Typer(no_args_is_help=True, help="Forget somebody, in stores and in what Syncer keeps.")


@app.command(cls=Command)
def person(
    by_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="The person's id.")] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="EMAIL", help="The person's email.")] = None,
    phone: Annotated[
        str | None, typer.Option("--phone", metavar="PHONE", help="The person's phone, such as +4915123456789.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", metavar="NAME", help="Only this store. Default: all stores.")
    ] = None,
    allow_return: Annotated[
        bool, typer.Option("--allow-return", help="Delete the person without suppressing them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete and suppress a person, and take them out of snapshots, saved plans and rejected rows."""
    from syncer.sync import forgetting

    project = Project()
    given = {PersonKey.ID: by_id, PersonKey.EMAIL: email, PersonKey.PHONE: phone}
    request = _request(project, given, store, may_return=allow_return)
    definitions = {definition.name: definition for definition in project.loaded.definitions}
    found = forgetting.forget(project.runner, definitions, request)
    action = request.target.action
    assert action is not None
    if as_json:
        output.json_line({"stores": request.stores, "action": action, **asdict(found)})
        return
    stores = ", ".join(quoted(name) for name in request.stores)
    output.line(f"{action.done.capitalize()} in {'the store' if len(request.stores) == 1 else 'the stores'} {stores}.")
    counted = [
        (found.rows, "rows of snapshots"),
        (found.rejections, "rejected rows"),
        (found.plans, "saved plans"),
        (found.damaged, "damaged snapshots"),
    ]
    for number, what in counted:
        if number:
            output.line(f"Deleted {what}: {number:,}")


def _request(
    project: Project, given: Mapping[PersonKey, str | None], store: str | None, *, may_return: bool
) -> Request:
    from syncer.sync.forgetting import Request

    named = [(kind, identifier(value)) for kind, value in given.items() if value is not None]
    if len(named) != 1 or not named[0][1]:
        hint = "Such as `syncer forget person --id 42`."
        raise SelectionError("one of --id, --email and --phone is needed", hint=hint)
    ((kind, value),) = named
    stores = project.settings.stores
    if store is not None and store not in stores:
        raise SelectionError(f"no store is called {quoted(store)}", hint=did_you_mean(store, stores))
    return Request(
        kind=kind,
        value=value.lower() if kind is PersonKey.EMAIL else value,
        stores=(store,) if store is not None else tuple(stores),
        is_everywhere=store is None or len(stores) == 1,
        may_return=may_return,
        actor=user(),
    )
