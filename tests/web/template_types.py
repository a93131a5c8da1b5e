"""Follows the types of a context through its template, and finds what the template names that is not there."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from jinja2 import Environment, nodes
from jinja2.runtime import LoopContext

Scope = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """A macro with the names around it."""

    node: nodes.Macro
    scope: Scope


@dataclass(kw_only=True)
class Checker:
    """Walks over templates; a type that is not known is Any, of which everything is allowed."""

    environment: Environment
    faults: set[str] = field(default_factory=set)
    #: The templates that name an attribute of what has no known type.
    unknown: set[str] = field(default_factory=set)
    _template: str = ""
    _calls: list[str] = field(default_factory=list)

    def check(self, template: str, *contexts: type) -> None:
        """Follow a template, and those that it extends, with the fields of its contexts."""
        scope: Scope = {name: _of_value(value) for name, value in self.environment.globals.items()}
        for context in contexts:
            scope |= typing.get_type_hints(context)
        self._walk_template(template, scope)

    def _walk_template(self, template: str, scope: Scope) -> Scope:
        assert self.environment.loader is not None
        source = self.environment.loader.get_source(self.environment, template)[0]
        outer, self._template = self._template, template
        tree = self.environment.parse(source)
        for extended in tree.find_all(nodes.Extends):
            self._walk_template(self._constant(extended.template), dict(scope))
            self._template = template
        self._walk(tree.body, scope)
        self._template = outer
        return scope

    def _walk(self, body: Iterable[nodes.Node], scope: Scope) -> None:
        for node in body:
            getattr(self, f"_walk_{type(node).__name__.lower()}")(node, scope)

    def _walk_output(self, node: nodes.Output, scope: Scope) -> None:
        for each in node.nodes:
            self._type(each, scope)

    def _walk_assign(self, node: nodes.Assign, scope: Scope) -> None:
        self._bind(node.target, self._type(node.node, scope), scope)

    def _walk_if(self, node: nodes.If, scope: Scope) -> None:
        self._type(node.test, scope)
        for branch in (node.body, node.elif_, node.else_):
            self._walk(branch, scope)

    def _walk_for(self, node: nodes.For, scope: Scope) -> None:
        inner = scope | {"loop": LoopContext}
        self._bind(node.target, self._item(self._type(node.iter, scope)), inner)
        self._type(node.test, inner)
        self._walk(node.body, inner)
        self._walk(node.else_, dict(scope))

    def _walk_block(self, node: nodes.Block, scope: Scope) -> None:
        self._walk(node.body, dict(scope))

    def _walk_macro(self, node: nodes.Macro, scope: Scope) -> None:
        scope[node.name] = Macro(node=node, scope=scope)

    def _walk_fromimport(self, node: nodes.FromImport, scope: Scope) -> None:
        found = self._walk_template(self._constant(node.template), dict(scope))
        for name in node.names:
            assert isinstance(name, str)
            scope[name] = found.get(name) or self._fault(node, name)

    def _walk_extends(self, _: nodes.Extends, __: Scope) -> None:
        """`_walk_template` follows it."""

    def _type(self, node: nodes.Node | None, scope: Scope) -> Any:
        """The type of an expression; of those that are not known here, the parts are followed."""
        find = getattr(self, f"_type_{type(node).__name__.lower()}", None)
        if find is not None:
            return find(node, scope)
        for each in node.iter_child_nodes() if node else ():
            self._type(each, scope)
        return Any

    def _type_name(self, node: nodes.Name, scope: Scope) -> Any:
        return scope[node.name] if node.name in scope else self._fault(node, node.name)

    def _type_const(self, node: nodes.Const, _: Scope) -> Any:
        return Literal[node.value]

    def _type_getattr(self, node: nodes.Getattr, scope: Scope) -> Any:
        of = _members(self._type(node.node, scope))
        if Any in of:
            self.unknown.add(self._template)
        found = [self._member(each, node.attr, node) for each in of]
        return Union[tuple(found)] if found else Any  # noqa: UP007

    def _type_getitem(self, node: nodes.Getitem, scope: Scope) -> Any:
        of, keys = self._type(node.node, scope), _members(self._type(node.arg, scope))
        if isinstance(node.arg, nodes.Slice):
            return of
        found: list[Any] = []
        for each in _members(of):
            if _is_mapping(each):
                found.append((*get_args(each), Any, Any)[1])
            elif is_dataclass(each):
                found += [self._member(each, get_args(key)[0], node) for key in keys if get_origin(key) is Literal]
            else:
                found.append(self._item(each))
        return Union[tuple(found)] if found else Any  # noqa: UP007

    def _type_filter(self, node: nodes.Filter, scope: Scope) -> Any:
        for argument in node.args:
            self._type(argument, scope)
        before = self._type(node.node, scope)
        if node.name in ("default", "length"):
            return int if node.name == "length" else before
        return _returned(self.environment.filters[node.name])

    def _type_condexpr(self, node: nodes.CondExpr, scope: Scope) -> Any:
        self._type(node.test, scope)
        return Union[self._type(node.expr1, scope), self._type(node.expr2, scope)]  # noqa: UP007

    def _type_or(self, node: nodes.Or, scope: Scope) -> Any:
        return Union[self._type(node.left, scope), self._type(node.right, scope)]  # noqa: UP007

    def _type_dict(self, node: nodes.Dict, scope: Scope) -> Any:
        values = [self._type(pair.value, scope) for pair in node.items]
        return dict[str, Union[tuple(values)]] if values else dict  # type: ignore[misc]  # noqa: UP007

    def _type_tuple(self, node: nodes.Tuple, scope: Scope) -> Any:
        return tuple[tuple(self._type(each, scope) for each in node.items)]  # type: ignore[misc]

    def _type_call(self, node: nodes.Call, scope: Scope) -> Any:
        called = self._type(node.node, scope)
        arguments = [self._type(each, scope) for each in node.args]
        if not isinstance(called, Macro):
            return _returned(called) if callable(called) and not isinstance(called, type) else Any
        place = f"{self._template}:{node.lineno} {called.node.name}"
        if place not in self._calls:
            self._calls.append(place)
            names = [argument.name for argument in called.node.args]
            defaults = [self._type(each, called.scope) for each in called.node.defaults]
            given = dict(zip(names[-len(defaults) :], defaults, strict=False)) | dict(
                zip(names, arguments, strict=False)
            )
            self._walk(called.node.body, called.scope | given)
            self._calls.pop()
        return str

    def _member(self, of: Any, name: str, node: nodes.Node) -> Any:
        """The type of an attribute."""
        if of is Any or isinstance(of, Macro):
            return Any
        kind = type(get_args(of)[0]) if get_origin(of) is Literal else get_origin(of) or of
        with suppress(KeyError, TypeError, NameError):
            return typing.get_type_hints(kind)[name]
        known = inspect.getattr_static(kind, name, None)
        if isinstance(known, property):
            return typing.get_type_hints(known.fget).get("return", Any)
        if known is not None:
            return _bound(known, of, name)
        if _is_mapping(of) and get_args(of):
            return get_args(of)[1]
        # Errors have attributes that only their constructors name.
        if any(name in getattr(vars(each).get("__init__"), "__code__", _NO_CODE).co_names for each in kind.__mro__):
            return Any
        return self._fault(node, f"{kind.__name__}.{name}")

    def _item(self, of: Any) -> Any:
        """What looping over a type gives."""
        items = []
        for each in _members(of):
            arguments = [argument for argument in get_args(each) if argument is not ...]
            kind = get_origin(each) or each
            if not (isinstance(kind, type) and issubclass(kind, Collection | Iterator) and arguments):
                return Any
            items += arguments if kind is tuple else arguments[:1]
        return Union[tuple(items)] if items else Any  # noqa: UP007

    def _bind(self, target: nodes.Node, of: Any, scope: Scope) -> None:
        if isinstance(target, nodes.Name):
            scope[target.name] = of
            return
        assert isinstance(target, nodes.Tuple)
        parts = get_args(of) if get_origin(of) is tuple else (Any,) * len(target.items)
        for each, part in zip(target.items, parts, strict=True):
            self._bind(each, part, scope)

    def _constant(self, node: nodes.Node) -> str:
        assert isinstance(node, nodes.Const)
        return str(node.value)

    def _fault(self, node: nodes.Node, name: str) -> Any:
        self.faults.add(f"{self._template}:{node.lineno}: there is no {name}")
        return Any


_NO_CODE = (lambda: None).__code__


def _members(of: Any) -> list[Any]:
    """The types of a union but None."""
    if get_origin(of) in (Union, types.UnionType):
        return [each for each in get_args(of) if each is not types.NoneType]
    if get_origin(of) is Literal:
        return [Literal[each] for each in get_args(of)]
    return [] if of in (None, types.NoneType) else [of]


def _is_mapping(of: Any) -> bool:
    kind = get_origin(of) or of
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _of_value(value: Any) -> Any:
    """The type of a global: functions stand for themselves."""
    if callable(value):
        return value
    if isinstance(value, Mapping) and value:
        key, item = next(iter(value.items()))
        return dict[type(key), type(item)]  # type: ignore[misc]
    return type(value)


def _returned(function: Callable[..., Any]) -> Any:
    with suppress(TypeError, NameError):
        return typing.get_type_hints(inspect.unwrap(function)).get("return", Any)
    return Any


def _bound(method: Any, of: Any, name: str) -> Any:
    """A method; of those of mappings, what they give is known."""
    if _is_mapping(of) and len(get_args(of)) == 2:
        key, value = get_args(of)
        gives = {"items": list[tuple[key, value]], "values": list[value], "keys": list[key], "get": value}  # type: ignore[valid-type]
        if name in gives:

            def bound() -> Any: ...

            bound.__annotations__ = {"return": gives[name]}
            return bound
    return method
