"""What is imported on use: a thread that may be the first to load a module of another package holds the lock for it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from graphlib import TopologicalSorter

import pytest

from tests.test_layout import MODULES, ROOT

OWN = ("syncer", "connectors")
#: What a command alone imports, before any thread.
FIRST = ("syncer.cli", "syncer.__main__")


@dataclass
class Imports:
    """The modules that a module imports."""

    #: When it is loaded itself.
    top: set[str] = field(default_factory=set)
    #: On use, without the lock: with the line.
    unlocked: list[tuple[int, set[str]]] = field(default_factory=list)


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


TREES = {_name(str(path.relative_to(ROOT))): ast.parse(path.read_text()) for path in MODULES}


def _named(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    for alias in node.names:
        full = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        yield full if isinstance(node, ast.Import) or full in TREES else str(node.module)


def _look(node: ast.AST, found: Imports, *, in_function: bool = False, held: bool = False) -> Imports:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            if not in_function:
                found.top.update(_named(child))
            elif not held:
                found.unlocked.append((child.lineno, set(_named(child))))
        is_lock = isinstance(child, ast.With) and any(ast.unparse(it.context_expr) == "importing" for it in child.items)
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        _look(child, found, in_function=in_function or is_function, held=held or is_lock)
    return found


@cache
def imports_of(module: str) -> Imports:
    return _look(TREES[module], Imports())


@cache
def loaded_with(module: str) -> frozenset[str]:
    """The modules of other packages that are loaded once a module is."""
    if module not in TREES:
        package = module.partition(".")[0]
        return (
            frozenset()
            if package in (*OWN, "__future__") or package in sys.stdlib_module_names
            else frozenset({module})
        )
    return frozenset().union(*map(loaded_with, imports_of(module).top))


def test_no_two_modules_load_each_other() -> None:
    graph = {module: imports_of(module).top & TREES.keys() for module in TREES}

    assert len(list(TopologicalSorter(graph).static_order())) >= len(TREES)


@pytest.mark.parametrize("module", [module for module in TREES if not module.startswith(FIRST)])
def test_what_may_be_the_first_to_load_a_module_holds_the_lock(module: str) -> None:
    for line, names in imports_of(module).unlocked:
        new = frozenset().union(*map(loaded_with, names)) - loaded_with(module)
        assert not new, f"{module}, line {line}: import it `with importing`, as it loads {sorted(new)}"
