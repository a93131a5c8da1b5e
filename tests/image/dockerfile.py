"""Reads a Dockerfile: its stages, and the instructions of each."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction of a stage."""

    #: In capitals.
    word: str
    #: All that follows, on one line.
    rest: str

    @property
    def exec_form(self) -> list[str]:
        """The words of a command that no shell runs."""
        found = json.loads(self.rest[self.rest.index("[") :])
        assert isinstance(found, list)
        return found


@dataclass(slots=True, kw_only=True)
class Stage:
    """From one FROM to the next."""

    image: str
    name: str = ""
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        """The instructions of one kind."""
        return [instruction for instruction in self.instructions if instruction.word == word]

    def one(self, word: str) -> Instruction:
        """The only instruction of a kind."""
        (found,) = self.all(word)
        return found

    @property
    def variables(self) -> dict[str, str]:
        """What ENV sets."""
        pairs = [pair for instruction in self.all("ENV") for pair in shlex.split(instruction.rest)]
        return dict(pair.split("=", 1) for pair in pairs)


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """The arguments that stand before every stage, with their defaults, and the stages."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(maxsplit=1)
        assert word.isupper(), line
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            stages.append(Stage(image=image, name=name))
        elif stages:
            stages[-1].instructions.append(Instruction(word=word, rest=rest))
        else:
            assert word == "ARG", line
            name, _, default = rest.partition("=")
            arguments[name] = default
    return arguments, stages
