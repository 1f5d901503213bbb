"""The validator that the runtime ships: reads a step and what it calls, and reports what the contract forbids.

It follows names through aliases, attribute chains, nested functions, lambdas, and into helpers: functions and
classes of the same module, and functions that the step's own package defines elsewhere. What it cannot resolve
it lets pass: a finding is meant to be right. What hides from it, `assert_replays` meets at run time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any

from runtime.contract.findings import Finding
from runtime.contract.names import Definition, Module
from runtime.contract.rules import CODES
from runtime.contract.source import FunctionNode, Source, plain_function, source_of
from runtime.contract.walk import Class, Found, Walk

if TYPE_CHECKING:
    from runtime.agents import StepFunction

TOOL_DECORATORS = {"tools.tool", "tools.tool()", "tools.tool.tool", "tools.tool.tool()"}
SUPPRESSION = "write `# aetheris: allow[code] reason`, with a code of " + ", ".join(sorted(CODES))


class ContractValidator:
    """Reports the contract's violations in a step, its helpers, and their suppressions without a reason."""

    def validate(self, step: StepFunction) -> list[Finding]:
        function = plain_function(step.function)
        source = source_of(function) if function is not None else None
        node = source.function(function.__code__) if function is not None and source is not None else None
        if function is None or source is None or node is None:
            return [_unreadable(step, function)]
        reach = _Reach(function.__globals__)
        reach.enter(reach.module(source, function.__globals__), node)
        return sorted(
            reach.findings(), key=lambda one: (one.file != source.file, one.file, one.line, one.code)
        )


class _Reach:
    """Everything that one step reaches: a queue of functions and classes, each walked once."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.package = str(namespace.get("__name__", "")).partition(".")[0]
        self.modules: dict[str, Module] = {}
        self.entered: list[tuple[Module, FunctionNode]] = []
        self.classes: list[Class] = []
        self.attributes: set[str] = set()
        self.found: list[tuple[Source, Found]] = []

    def module(self, source: Source, namespace: dict[str, Any]) -> Module:
        if source.file not in self.modules:
            self.modules[source.file] = Module(source, namespace)
        return self.modules[source.file]

    def enter(self, module: Module, node: FunctionNode) -> None:
        if any(entered is node for _, entered in self.entered):
            return
        self.entered.append((module, node))
        self._take(module, Walk(module, module.scopes[node]).function(node))
        self._enter_methods()

    def _take(self, module: Module, walk: Walk) -> None:
        self.found += [(module.source, found) for found in walk.found]
        self.attributes |= walk.attributes
        for node, scope in walk.references:
            definition = module.definition(node, scope)
            if definition is None:
                self._enter_elsewhere(module.value(node, scope))
            elif isinstance(definition, ast.ClassDef):
                self._enter_class(module, Class(definition))
            elif not _is_tool(definition, module):
                self.enter(module, definition)

    def _enter_elsewhere(self, value: Any) -> None:
        """A function of the step's own package, from another module."""
        function = plain_function(value) if isinstance(value, FunctionType) else None
        name = str(function.__globals__.get("__name__", "")) if function else ""
        if function is None or name.partition(".")[0] != self.package or name.startswith("runtime."):
            return
        source = source_of(function)
        node = source.function(function.__code__) if source else None
        if source is not None and node is not None:
            self.enter(self.module(source, function.__globals__), node)

    def _enter_class(self, module: Module, entered: Class) -> None:
        if any(known.node is entered.node for known in self.classes):
            return
        entered.module = module
        self.classes.append(entered)
        self._take(module, Walk(module, module.scopes[entered.node]).class_body(entered.node))
        self._enter_methods()

    def _enter_methods(self) -> None:
        """Methods whose names occur in what is reached, of classes that are."""
        for one in list(self.classes):
            for method in one.methods(self.attributes):
                if one.module is not None:
                    self.enter(one.module, method)

    def findings(self) -> Iterator[Finding]:
        seen: set[tuple[str, int, str, str]] = set()
        for source, found in self.found:
            key = (source.file, found.line, found.rule.code, found.name)
            if key in seen or source.allows(found.rule.code, found.line, found.end):
                continue
            seen.add(key)
            yield Finding(
                found.rule.code,
                source.file,
                found.line,
                f"`{found.name}` {found.rule.why}",
                found.rule.replacement,
            )
        yield from self._bad_suppressions()

    def _bad_suppressions(self) -> Iterator[Finding]:
        for source in {id(module.source): module.source for module, _ in self.entered}.values():
            ranges = [
                (node.lineno, node.end_lineno or node.lineno)
                for module, node in self.entered
                if module.source is source
            ]
            for one in source.suppressions.values():
                if not any(first <= one.line <= last for first, last in ranges):
                    continue
                if fault := _fault(one.codes, one.reason):
                    yield Finding("suppression", source.file, one.line, fault, SUPPRESSION)


def _is_tool(definition: Definition, module: Module) -> bool:
    """Whether its calls go through the ledger."""
    around = module.scopes[definition].parent or module.scope
    names = {name for one in definition.decorator_list for name in module.names(one, around)}
    return not names.isdisjoint(TOOL_DECORATORS)


def _fault(codes: frozenset[str], reason: str) -> str | None:
    if not codes:
        return "a suppression names no code"
    if unknown := sorted(codes - CODES):
        return f"a suppression names {', '.join(unknown)}, which is no code"
    return None if reason else f"`allow[{', '.join(sorted(codes))}]` gives no reason"


def _unreadable(step: StepFunction, function: FunctionType | None) -> Finding:
    code = getattr(function, "__code__", None)
    file, line = (code.co_filename, code.co_firstlineno) if code else ("<unknown>", 0)
    return Finding(
        "unreadable",
        file,
        line,
        f"the source of step {step.name!r} cannot be read, so nothing is known of it",
        "define it in a module of an installed app",
        warning=True,
    )
