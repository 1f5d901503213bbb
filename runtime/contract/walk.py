"""One pass over the syntax of a function: what it uses that a rule forbids, and what it refers to."""

from __future__ import annotations

import ast
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from queue import Queue

from runtime.contract import orm
from runtime.contract.names import MISSING, Assigned, Module, Opaque, Scope
from runtime.contract.rules import (
    DATABASE,
    NETWORK,
    RANDOM,
    RULES,
    STATE,
    UNLESS_GIVEN,
    Rule,
    rule_for,
    spoken,
)
from runtime.contract.source import FunctionNode

MUTATORS = frozenset({
    "append", "appendleft", "add", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem",
    "popleft", "put", "put_nowait", "remove", "reverse", "setdefault", "sort", "subtract", "update",
})  # fmt: skip
CONTAINERS = (list, dict, set, bytearray, deque, OrderedDict, Queue)
CONTAINER_CALLS = frozenset({
    "list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter", "Queue",
})  # fmt: skip
TYPE_TESTS = frozenset({"isinstance", "issubclass", "cast"})
SPECIAL_METHODS = frozenset({
    "__init__", "__new__", "__post_init__", "__call__", "__enter__", "__exit__", "__aenter__", "__aexit__",
    "__iter__", "__next__", "__getattr__", "__getitem__",
})  # fmt: skip
ChainLink = ast.Attribute | ast.Subscript | ast.Call


@dataclass(frozen=True, slots=True)
class Found:
    """A forbidden thing, and the lines of its expression."""

    rule: Rule
    name: str
    line: int
    end: int


@dataclass
class Class:
    """A class that a step reaches."""

    node: ast.ClassDef
    module: Module | None = None

    def methods(self, attributes: Collection[str]) -> Iterator[FunctionNode]:
        """Those that are called without a name, and those that are named."""
        for statement in self.node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and (
                statement.name in SPECIAL_METHODS or statement.name in attributes
            ):
                yield statement


class Walk(ast.NodeVisitor):
    """What a function does itself, with the functions and lambdas inside it."""

    def __init__(self, module: Module, scope: Scope) -> None:
        self.module = module
        self.scope = scope
        self.found: list[Found] = []
        self.references: list[tuple[ast.expr, Scope]] = []
        self.attributes: set[str] = set()

    def function(self, node: FunctionNode) -> Walk:
        self._defaults(node.args)
        self._body(node.body)
        return self

    def class_body(self, node: ast.ClassDef) -> Walk:
        """Defaults of fields, and the classes below it; its methods are entered when they are named."""
        for base in node.bases:
            self.visit(base)
        self._body([one for one in node.body if not isinstance(one, FunctionNode | ast.ClassDef)])
        return self

    def _body(self, body: list[ast.stmt] | ast.expr) -> None:
        for statement in body if isinstance(body, list) else [body]:
            self.visit(statement)

    def _defaults(self, arguments: ast.arguments) -> None:
        for default in (*arguments.defaults, *(one for one in arguments.kw_defaults if one is not None)):
            self.visit(default)

    # Scopes inside

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._inside(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside(node)

    def _inside(self, node: FunctionNode) -> None:
        for decorator in getattr(node, "decorator_list", ()):
            self.visit(decorator)
        self._defaults(node.args)
        outer, self.scope = self.scope, self.module.scopes[node]
        self._body(node.body)
        self.scope = outer

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(part)
        outer, self.scope = self.scope, self.module.scopes[node]
        self._body(node.body)
        self.scope = outer

    # Types that are named, not used

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._mutated(node.target)
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._body(node.body)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for pattern in (*node.patterns, *node.kwd_patterns):
            self.visit(pattern)

    # Uses

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.references.append((node, self.scope))
            self._used(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.attributes.add(node.attr)
        if not self._used(node):
            self.references.append((node, self.scope))
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._used(node):
            self.visit(node.slice)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        if isinstance(node.func, ast.Name | ast.Attribute) and _last(node.func) in TYPE_TESTS:
            arguments = arguments[1:] if _last(node.func) == "cast" else arguments[:1]
        known = self._called(node)
        if known:
            self._arguments_of_chain(node.func)
        else:
            self._mutating(node)
            self.visit(node.func)
        for argument in arguments:
            self.visit(argument)

    def _called(self, node: ast.Call) -> bool:
        """Whether the call itself is decided: reported, or allowed as it is written."""
        for name in self.module.names(node.func, self.scope):
            if name in UNLESS_GIVEN:
                rule, needed = UNLESS_GIVEN[name]
                if _given(node) < needed:
                    self._report(rule, name, node)
                return True
            if (rule_ := rule_for(f"{name}()")) is not None:
                self._report(rule_, spoken(name), node)
                return True
        if orm.writes(node, self.module, self.scope):
            self._report(DATABASE, ast.unparse(node.func), node)
        elif self._sends_task(node):
            self._report(NETWORK, ast.unparse(node.func), node)
        return False

    def _used(self, node: ast.expr) -> bool:
        # `getattr(time, "time")` names the same as `time.time`.
        for name in self.module.names(node, self.scope):
            if name not in RULES and "." not in name:
                continue
            if (rule := rule_for(name)) is not None and not self._stands_for_module(name):
                self._report(rule, spoken(name), node)
                return True
            if self._is_module_instance(name, node):
                return True
        return False

    def _stands_for_module(self, name: str) -> bool:
        return f"{name}." in RULES

    def _is_module_instance(self, name: str, node: ast.expr) -> bool:
        """`rng.random()` of a module's own `random.Random(7)` goes on from where another step left it."""
        root = _root(node)
        if not name.startswith("random.Random().") or root is None or not self._outlives(root):
            return False
        self._report(RANDOM, ast.unparse(node), node)
        return True

    def _arguments_of_chain(self, node: ast.expr) -> None:
        while isinstance(node, ChainLink):
            if isinstance(node, ast.Call):
                for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                    self.visit(argument)
                node = node.func
            else:
                if isinstance(node, ast.Subscript):
                    self.visit(node.slice)
                node = node.value

    def _sends_task(self, node: ast.Call) -> bool:
        """`task.delay(…)` of a Celery task."""
        if not (isinstance(node.func, ast.Attribute) and node.func.attr in ("delay", "apply_async")):
            return False
        task = self.module.value(node.func.value, self.scope)
        return task is not MISSING and hasattr(type(task), "delay") and hasattr(type(task), "apply_async")

    # State that outlives the step

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._mutated(target)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._mutated(node.target)
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._mutated(target)
        self.generic_visit(node)

    def _mutated(self, target: ast.expr) -> None:
        match target:
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._mutated(element)
            case ast.Name(id=name) if name in self.scope.globals:
                self._report(STATE, name, target)
            case ast.Attribute() | ast.Subscript():
                root = _root(target)
                if root is not None and self._outlives(root) and not self._is_refused(target):
                    self._report(STATE, ast.unparse(target), target)

    def _is_refused(self, target: ast.expr) -> bool:
        """Whether a rule speaks of it already, as of `os.environ["X"] = …`."""
        return any(rule_for(name) is not None for name in self.module.names(target, self.scope))

    def _mutating(self, node: ast.Call) -> None:
        match node.func:
            case ast.Attribute(value=value, attr=method) if method in MUTATORS and self._is_shared(value):
                self._report(STATE, ast.unparse(node.func), node)
            case ast.Name(id="next") if (
                node.args and isinstance(node.args[0], ast.Name) and self._outlives(node.args[0])
            ):
                self._report(STATE, ast.unparse(node), node)

    def _is_shared(self, value: ast.expr) -> bool:
        """Whether a container is the module's, or the default of a parameter."""
        root = _root(value)
        if root is None:
            return False
        if isinstance(value, ast.Name) and self._is_mutable_default(value):
            return True
        if not self._outlives(root):
            return False
        known = self.module.value(value, self.scope)
        if known is not MISSING:
            return isinstance(known, CONTAINERS)
        if isinstance(value, ast.Subscript):
            return self._is_shared(value.value)
        found = self.scope.find(root.id)
        return value is root and any(
            isinstance(one, Assigned) and _is_container(one.value) for one in (found[1] if found else ())
        )

    def _is_mutable_default(self, name: ast.Name) -> bool:
        found = self.scope.find(name.id)
        if found is None or not isinstance(found[0].node, FunctionNode) or found[1] != [Opaque()]:
            return False
        arguments = found[0].node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = [
            *zip(reversed(positional), reversed(arguments.defaults), strict=False),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        return any(
            argument.arg == name.id and default is not None and _is_container(default)
            for argument, default in defaults
        )

    def _outlives(self, root: ast.Name) -> bool:
        """Whether a name is the module's, so that what hangs on it is there for the next step too."""
        found = self.scope.find(root.id)
        return found is not None and found[0].is_module

    def _report(self, rule: Rule, name: str, node: ast.expr) -> None:
        self.found.append(Found(rule, name, node.lineno, node.end_lineno or node.lineno))


def _given(node: ast.Call) -> int:
    return len(node.args) + len(node.keywords)


def _last(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _root(node: ast.expr) -> ast.Name | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node if isinstance(node, ast.Name) else None


def _is_container(node: ast.expr) -> bool:
    match node:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name() | ast.Attribute() as called):
            return _last(called) in CONTAINER_CALLS
    return False
