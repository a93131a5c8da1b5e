"""An editor of the tests' own: it starts `syncer lsp` as a process, and speaks the protocol with it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tests.cli.conftest import Folder

Message = dict[str, Any]

SECONDS = 120.0

#: What an editor of today can do, as far as the server looks at it.
ABLE = {
    "general": {"positionEncodings": ["utf-16"]},
    "window": {"workDoneProgress": True, "showDocument": {"support": True}},
}


class Editor:
    """A language client; waits end at once in every run but a failed one."""

    def __init__(self, folder: Path, environment: Mapping[str, str], capabilities: Mapping[str, Any] = ABLE) -> None:
        command = Folder(path=folder).command("lsp")
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._arrived: SimpleQueue[Message | None] = SimpleQueue()
        self._inbox: list[Message] = []
        self._last_id = 0
        self._versions: dict[str, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.capabilities = self.request(
            "initialize", {"processId": None, "rootUri": None, "capabilities": capabilities}
        )
        self.notify("initialized", {})

    def request(self, method: str, params: Any) -> Any:
        """The result of a request; an AssertionError with the server's error."""
        return self.result(self.ask(method, params))

    def ask(self, method: str, params: Any) -> int:
        """Send a request; gives its number."""
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        return self._last_id

    def result(self, number: int) -> Any:
        """The answer to a request."""
        answer = self.wait_for(lambda message: message.get("id") == number and "method" not in message)
        assert "error" not in answer, answer
        return answer["result"]

    def notify(self, method: str, params: Any) -> None:
        """Send what has no answer."""
        self._send({"method": method, "params": params})

    def wait_for(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message that nobody has taken yet and that is *wanted*."""
        deadline = time.monotonic() + SECONDS
        while True:
            for index, message in enumerate(self._inbox):
                if wanted(message):
                    return self._inbox.pop(index)
            self._receive(deadline)

    def told(self, method: str) -> Any:
        """The parameters of the next notification or request of this method."""
        return self.wait_for(lambda message: message.get("method") == method)["params"]

    def open(self, path: Path, text: str | None = None) -> str:
        """Open a file, perhaps with a text that is not in it; gives its address."""
        uri = path.as_uri()
        self._versions[uri] = self._versions.get(uri, 0) + 1
        shown = path.read_text() if text is None else text
        document = {"uri": uri, "languageId": "sql", "version": self._versions[uri], "text": shown}
        self.notify("textDocument/didOpen", {"textDocument": document})
        return uri

    def change(self, uri: str, text: str) -> None:
        """Replace the text of an open file, without saving it."""
        self._versions[uri] += 1
        document = {"uri": uri, "version": self._versions[uri]}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]})

    def close_files(self, folder: Path) -> None:
        """Close the open files below a folder."""
        for uri in [uri for uri in self._versions if uri.startswith(f"{folder.as_uri()}/")]:
            self.notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def diagnostics(self, uri: str) -> list[Any]:
        """What is wrong with the newest text of a file."""
        found = self.wait_for(
            lambda message: (
                message.get("method") == "textDocument/publishDiagnostics"
                and message["params"]["uri"] == uri
                and message["params"].get("version") == self._versions[uri]
            )
        )
        shown: list[Any] = found["params"]["diagnostics"]
        return shown

    def complete(self, uri: str, line: int, column: int, **context: Any) -> list[Any]:
        """What the server suggests at a place."""
        where = {"textDocument": {"uri": uri}, "position": {"line": line, "character": column}}
        answer = self.request("textDocument/completion", {**where, **({"context": context} if context else {})})
        items: list[Any] = answer["items"] if answer else []
        return items

    def hover(self, uri: str, line: int, column: int) -> Any:
        """What the server says of a place; None if nothing."""
        where = {"textDocument": {"uri": uri}, "position": {"line": line, "character": column}}
        return self.request("textDocument/hover", where)

    def eventually(self, ask: Callable[[], Any]) -> Any:
        """What *ask* gives once that is something."""
        deadline = time.monotonic() + SECONDS
        while not (found := ask()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found

    def unread(self, method: str) -> list[Any]:
        """The parameters of messages of this method that have come and that nobody has taken."""
        return [message["params"] for message in self._inbox if message.get("method") == method]

    def leave(self) -> int:
        """Say goodbye as the protocol wants; gives the exit code."""
        self.request("shutdown", None)
        self.notify("exit", None)
        return self.process.wait(SECONDS)

    def close(self) -> None:
        """End the server, however it is."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _send(self, message: Message) -> None:
        assert self.process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def _receive(self, deadline: float) -> None:
        try:
            message = self._arrived.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise AssertionError(f"nothing came; the server's log: {self.log.read_text()}") from None
        assert message is not None, f"the server ended: {self.log.read_text()}"
        self._inbox.append(message)
        if "id" in message and "method" in message:
            self._send({"id": message["id"], "result": {"success": True} if "Document" in message["method"] else None})

    def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        while line := stdout.readline():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
            elif line == b"\r\n":
                self._arrived.put(json.loads(stdout.read(length)))
        self._arrived.put(None)
