"""What a name in the source stands for: `t` after `from time import time as t` is `time.time`.

A name is looked up in the scopes around it, as Python does, and where the source does not tell, in the module
as it is loaded: `from .compat import now` may be Django's `timezone.now`.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from runtime.contract.rules import FACTORIES, RULES
from runtime.contract.source import FunctionNode, Source

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Imported:
    dotted: str


@dataclass(frozen=True)
class Assigned:
    value: ast.expr


@dataclass(frozen=True)
class Defined:
    node: Definition


@dataclass(frozen=True)
class Opaque:
    """A parameter, a loop variable: anything that the source does not tell."""


Binding = Imported | Assigned | Defined | Opaque
MISSING = object()


class Scope:
    """A module, class or function, and what its own statements bind."""

    def __init__(self, node: ast.AST, parent: Scope | None, package: str) -> None:
        self.node = node
        self.parent = parent
        self.bindings: defaultdict[str, list[Binding]] = defaultdict(list)
        self.globals: set[str] = set()
        _Collector(self, package).collect()

    @property
    def is_module(self) -> bool:
        return self.parent is None

    def find(self, name: str) -> tuple[Scope, list[Binding]] | None:
        """The scope that binds a name, looked up from this one."""
        scope: Scope | None = self
        if name in self.globals:
            scope = self._module()
        while scope is not None:
            hidden = isinstance(scope.node, ast.ClassDef) and scope is not self
            if name in scope.bindings and not hidden:
                return scope, scope.bindings[name]
            scope = scope.parent
        return None

    def _module(self) -> Scope:
        return self if self.parent is None else self.parent._module()


class Module:
    """A loaded module and its source: the scopes of its functions, and what its names are at this moment."""

    def __init__(self, source: Source, namespace: dict[str, Any]) -> None:
        self.source = source
        self.namespace = namespace
        self.name = str(namespace.get("__name__", ""))
        package = str(namespace.get("__package__") or self.name.rpartition(".")[0])
        self.scope = Scope(source.tree, None, package)
        self.scopes: dict[ast.AST, Scope] = {source.tree: self.scope}
        self._open(source.tree, self.scope, package)

    def _open(self, node: ast.AST, scope: Scope, package: str) -> None:
        pending = [(child, scope) for child in ast.iter_child_nodes(node)]
        while pending:
            child, around = pending.pop()
            inner = around
            if isinstance(child, FunctionNode | ast.ClassDef):
                inner = self.scopes[child] = Scope(child, around, package)
            pending.extend((grandchild, inner) for grandchild in ast.iter_child_nodes(child))

    def names(self, node: ast.expr, scope: Scope) -> Iterator[str]:
        """The dotted names that an expression may stand for: as written, and as loaded."""
        if (written := self._written(node, scope, frozenset())) is not None:
            yield written
        if (loaded := self._loaded(node, scope)) is not None:
            yield loaded

    def _written(self, node: ast.expr, scope: Scope, seen: frozenset[str]) -> str | None:
        match node:
            case ast.Name(id=name):
                return self._bound(name, scope, seen)
            case ast.Attribute(value=value, attr=attribute):
                base = self._written(value, scope, seen)
                return f"{base}.{attribute}" if base else None
            case ast.Subscript(value=value):
                base = self._written(value, scope, seen)
                return f"{base}[]" if base else None
            case ast.NamedExpr(value=value) | ast.Await(value=value):
                return self._written(value, scope, seen)
            case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=str(attribute)), *_]):
                base = self._written(value, scope, seen)
                return f"{base}.{attribute}" if base else None
            case ast.Call(func=ast.Name(id="__import__"), args=[ast.Constant(value=str(name)), *_]):
                return name.partition(".")[0]
            case ast.Call(func=function, args=arguments):
                base = self._written(function, scope, seen)
                if base == "importlib.import_module" and arguments:
                    return _text(arguments[0])
                return f"{base}()" if base else None
        return None

    def _bound(self, name: str, scope: Scope, seen: frozenset[str]) -> str | None:
        found = scope.find(name)
        if found is None or name in seen:
            return None
        home, bindings = found
        for binding in bindings:
            if isinstance(binding, Imported):
                return binding.dotted
        if len(bindings) == 1 and isinstance(bindings[0], Assigned):
            dotted = self._written(bindings[0].value, home, seen | {name})
            return dotted if dotted and (home.is_module or _is_followed(dotted)) else None
        return None

    def definition(self, node: ast.expr, scope: Scope) -> Definition | None:
        """The function or class of this file that a name stands for."""
        match node:
            case ast.Name(id=name):
                found = scope.find(name)
                for binding in found[1] if found else []:
                    if isinstance(binding, Defined):
                        return binding.node
                    match binding:
                        case Assigned(value=ast.Name(id=other) as alias) if other != name and found:
                            return self.definition(alias, found[0])
        return None

    def value(self, node: ast.expr, scope: Scope) -> Any:
        """The object that a chain of names stands for in the loaded module; MISSING when that is not known."""
        match node:
            case ast.Name(id=name):
                found = scope.find(name)
                return MISSING if found and not found[0].is_module else self.namespace.get(name, MISSING)
            case ast.Attribute(value=value, attr=attribute):
                return _member(self.value(value, scope), attribute)
        return MISSING

    def _loaded(self, node: ast.expr, scope: Scope) -> str | None:
        match node:
            case ast.Attribute(value=value, attr=attribute):
                # A class does not say who its methods are; a module and an instance may hold what another one made.
                if not isinstance(self.value(value, scope), type) and (
                    dotted := name_of(self.value(node, scope))
                ):
                    return dotted
                base = self._loaded(value, scope)
                return f"{base}.{attribute}" if base else None
            case ast.Name():
                return name_of(self.value(node, scope))
            case ast.Call(func=function):
                base = self._loaded(function, scope)
                return f"{base}()" if base else None
            case ast.Subscript(value=value):
                base = self._loaded(value, scope)
                return f"{base}[]" if base else None
        return None


def name_of(value: Any) -> str | None:
    """The dotted name of a loaded object that a rule may speak of; an instance is `module.Class()`."""
    if value is MISSING or value is None or isinstance(value, str | int | float | list | dict | set | tuple):
        return None
    if isinstance(value, ModuleType):
        return value.__name__
    if (known := _ruled_objects(len(sys.modules)).get(id(value))) is not None:
        return known
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        return f"{name_of(owner)}.{getattr(value, '__name__', '')}"
    module, qualified = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(qualified, str):
        return f"{module}.{qualified}"
    return f"{type(value).__module__}.{type(value).__qualname__}()"


@functools.lru_cache(maxsize=1)
def _ruled_objects(modules: int) -> dict[int, str]:
    """Names of the objects that rules speak of, by identity: `random.random` does not know its own name.

    Made again when more `modules` are loaded.
    """
    found: dict[int, str] = {}
    for dotted in RULES:
        module, _, attribute = dotted.rpartition(".")
        loaded = sys.modules.get(module)
        if attribute and loaded is not None and (value := vars(loaded).get(attribute)) is not None:
            found[id(value)] = dotted
    return found


def _is_followed(dotted: str) -> bool:
    """Whether a local name that holds this still stands for it. Calls made in the step are looked at themselves."""
    return "(" not in dotted or dotted.removesuffix("()") in FACTORIES


def _member(owner: Any, attribute: str) -> Any:
    """An attribute, without running code of the owner."""
    if owner is MISSING:
        return MISSING
    if isinstance(owner, ModuleType | type):
        return vars(owner).get(attribute, MISSING)
    return getattr(owner, "__dict__", {}).get(attribute, MISSING)


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


class _Collector(ast.NodeVisitor):
    """Fills a scope with what its statements bind; functions and classes inside bind their own."""

    def __init__(self, scope: Scope, package: str) -> None:
        self.scope = scope
        self.package = package

    def collect(self) -> None:
        node = self.scope.node
        if isinstance(node, FunctionNode):
            for argument in _arguments(node.args):
                self._bind(argument.arg, Opaque())
        body = node.body if isinstance(node, ast.Module | ast.ClassDef | FunctionNode) else []
        for statement in body if isinstance(body, list) else [body]:
            self.visit(statement)

    def _bind(self, name: str, binding: Binding) -> None:
        self.scope.bindings[name].append(binding)

    def _bind_target(self, target: ast.expr, binding: Binding) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, binding)
        elif isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                self._bind_target(element, Opaque())
        elif isinstance(target, ast.Starred):
            self._bind_target(target.value, Opaque())

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._bind(node.name, Defined(node))

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._bind(node.name, Defined(node))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, Defined(node))

    def visit_Lambda(self, node: ast.Lambda) -> None:
        pass

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self._bind(name, Imported(alias.name if alias.asname else name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = node.module or ""
        if node.level:
            parents = self.package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1])
            origin = f"{base}.{origin}" if origin else base
        for alias in node.names:
            if alias.name != "*":
                self._bind(alias.asname or alias.name, Imported(f"{origin}.{alias.name}"))

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._bind_target(target, Assigned(node.value))
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind_target(node.target, Assigned(node.value))
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._bind_target(node.target, Assigned(node.value))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._bind_target(node.target, Opaque())
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._bind_target(node.target, Opaque())
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._bind_target(node.target, Opaque())
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._bind_target(node.target, Opaque())
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._bind_target(node.optional_vars, Opaque())
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, Opaque())
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._bind(node.name, Opaque())
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name, Opaque())

    def visit_Global(self, node: ast.Global) -> None:
        self.scope.globals.update(node.names)


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    for one in (arguments.vararg, arguments.kwarg):
        if one is not None:
            yield one
