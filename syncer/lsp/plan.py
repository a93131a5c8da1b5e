"""`syncer plan` of one sync in a process of its own, shown in the editor."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.uris import from_fs_path
from pygls.workspace import TextDocument

from syncer.definitions import file as definition_file
from syncer.lsp.editor import EditorServer, path_of

#: The command of the code lens.
PLAN = "syncer.plan"

#: Exit codes with which `plan` printed a plan.
_PLANNED = {0, 1, 3}
#: Seconds that a plan has to let go of its warehouse once it is to stop.
_GRACE_SECONDS = 5.0
#: Seconds that plans have to end before the server answers that it shuts down.
_SHUTDOWN_SECONDS = 1.0
#: Seconds that an editor has to begin to show progress.
_PROGRESS_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOutput:
    """What `syncer plan` printed."""

    #: What was planned, and then errors and notes.
    text: str
    #: Its first line, or the first line of the error.
    summary: str
    is_plan: bool


def plan_file(server: EditorServer, uri: str) -> None:
    """Begin to plan a file as it is saved; what comes of it is shown later."""
    document = server.document(uri) or TextDocument(uri)
    path, project = path_of(document), server.project(document)
    if path is None or project is None or not path.is_file() or server.definition_path(document) is None:
        server.say(types.MessageType.Warning, "Save the file in the folder of a project's definitions to plan it.")
        return
    if path in server.plans:
        server.say(types.MessageType.Info, f"{path.name} is being planned already.")
        return
    task = asyncio.get_running_loop().create_task(_plan(server, project.path, path, uri))
    server.plans[path] = task
    task.add_done_callback(lambda _: server.plans.pop(path))


async def shutdown(server: EditorServer, params: Any) -> None:
    """End the plans that run."""
    server.is_shut_down = True
    tasks = list(server.plans.values())
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_SHUTDOWN_SECONDS)


async def _plan(server: EditorServer, project: Path, path: Path, uri: str) -> None:
    data = path.read_bytes()
    file = definition_file.parse(path, data)
    if file.errors:
        # A name that is none may stand for other syncs.
        server.say(
            types.MessageType.Error,
            f"{path.name} cannot be planned: line {file.errors[0].line}: {file.errors[0].message}",
        )
        return
    running = asyncio.ensure_future(run_plan(project, file.name, server.processes))
    try:
        async with _progress(server, file.name, running):
            found = await running
    except asyncio.CancelledError:
        running.cancel()
        raise
    except OSError as exc:
        server.say(types.MessageType.Error, f"{file.name} cannot be planned: {exc.strerror}")
        return
    document = server.document(uri)
    is_saved = document is None or document.source.encode("utf-8", "replace") == data
    _show(server, path.stem, found, is_saved=is_saved)


@asynccontextmanager
async def _progress(server: EditorServer, sync: str, running: asyncio.Future[PlanOutput]) -> AsyncIterator[None]:
    """Let the editor show that a plan runs, if it can, and cancel it."""
    token, progress = f"{PLAN} {sync}", server.work_done_progress
    if server.can("work_done_progress"):
        with suppress(JsonRpcException, TimeoutError):
            await asyncio.wait_for(progress.create_async(token), _PROGRESS_SECONDS)
    shown = progress.tokens.get(token)
    if shown is None:
        yield
        return
    shown.add_done_callback(lambda _: running.cancel())
    progress.begin(token, types.WorkDoneProgressBegin(title=f"Planning {sync}", cancellable=True))
    try:
        yield
    finally:
        progress.tokens.pop(token, None)
        progress.end(token, types.WorkDoneProgressEnd())


async def run_plan(project: Path, sync: str, processes: set[Popen[bytes]]) -> PlanOutput:
    """What `syncer plan` prints of a sync; its process is among *processes* meanwhile. Cancelling this ends it."""
    command = [sys.executable, "-P", "-m", "syncer", "plan", "--", sync]
    process = Popen(command, cwd=project, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    processes.add(process)
    try:
        printed = await asyncio.to_thread(process.communicate)
    finally:
        await asyncio.to_thread(_end, process)
        processes.discard(process)
    out, err = (part.decode("utf-8", "replace").strip() for part in printed)
    is_plan = process.returncode in _PLANNED and bool(out)
    summary = (out if is_plan else err or out).partition("\n")[0]
    return PlanOutput(
        text="\n\n".join(part for part in (out, err) if part),
        summary=summary or "`syncer plan` printed nothing",
        is_plan=is_plan,
    )


def _end(process: Popen[bytes]) -> None:
    """End a plan that still runs, as Ctrl-C would."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except TimeoutExpired:
        process.kill()


def _show(server: EditorServer, name: str, found: PlanOutput, *, is_saved: bool) -> None:
    note = "" if is_saved else "This is a plan of the file as it is saved; the editor has changes that are not.\n\n"
    level = types.MessageType.Info if found.is_plan else types.MessageType.Error
    if not server.can("show_document"):
        server.say(level, f"{note}{found.text}")
        return
    path = Path(server.shown.path, f"{name}.plan.txt")
    path.write_text(f"{note}{found.text}\n", encoding="utf-8")
    server.window_show_document(types.ShowDocumentParams(uri=str(from_fs_path(str(path))), take_focus=False))
    server.say(level, f"{note}{found.summary}")
