"""Which expressions are rows or querysets of Django's ORM, as far as the source tells, and what writes them."""

from __future__ import annotations

import ast
from enum import Enum

from django.db.models import Manager, Model, QuerySet

from runtime.contract.names import MISSING, Assigned, Module, Scope
from runtime.contract.source import FunctionNode

MANAGERS = frozenset({"objects", "_default_manager", "_base_manager"})
ROW_WRITES = frozenset({"save", "asave", "delete", "adelete", "save_base"})
SET_WRITES = frozenset(
    {
        *("create", "acreate", "update", "aupdate", "delete", "adelete"),
        *("bulk_create", "abulk_create", "bulk_update", "abulk_update"),
        *("get_or_create", "aget_or_create", "update_or_create", "aupdate_or_create"),
    }
)
RELATED_WRITES = (SET_WRITES - {"update", "delete", "adelete"}) | {"aset", "aadd", "aclear", "aremove"}
"""On an attribute of a row, such as `order.lines.create()`; `update` might be that of a dict."""

_ROWS = frozenset(
    {"get", "aget", "first", "afirst", "last", "alast", "earliest", "latest", "create", "acreate"}
)
_VALUES = frozenset(
    {
        *("values", "values_list", "count", "acount", "exists", "aexists", "aggregate", "aaggregate"),
        *("in_bulk", "ain_bulk", "explain", "dates", "datetimes", "update", "delete", "bulk_create"),
    }
)


class Origin(Enum):
    """What an expression is."""

    ROW = "row"
    SET = "set"
    RELATED = "related"
    NOTHING = "nothing"


def writes(node: ast.Call, module: Module, scope: Scope) -> bool:
    """Whether a call is one that writes rows."""
    if not isinstance(node.func, ast.Attribute):
        return False
    match origin(node.func.value, module, scope):
        case Origin.ROW:
            return node.func.attr in ROW_WRITES
        case Origin.SET:
            return node.func.attr in SET_WRITES
        case Origin.RELATED:
            return node.func.attr in RELATED_WRITES
        case Origin.NOTHING:
            return False


def origin(node: ast.expr, module: Module, scope: Scope, seen: frozenset[str] = frozenset()) -> Origin:
    match node:
        case ast.Await(value=value) | ast.NamedExpr(value=value):
            return origin(value, module, scope, seen)
        case ast.Attribute(attr=attribute) if attribute in MANAGERS:
            return Origin.SET
        case ast.Attribute(value=value):
            return Origin.RELATED if origin(value, module, scope, seen) is Origin.ROW else Origin.NOTHING
        case ast.Subscript(value=value, slice=index):
            of = origin(value, module, scope, seen)
            return Origin.ROW if of is Origin.SET and not isinstance(index, ast.Slice) else of
        case ast.Call(func=ast.Attribute(value=value, attr=method)):
            return _of_method(origin(value, module, scope, seen), method)
        case ast.Call(func=ast.Name(id="list" | "sorted" | "reversed"), args=[value, *_]):
            return origin(value, module, scope, seen)
        case ast.Call(func=called):
            return Origin.ROW if _is_model(called, module, scope) else Origin.NOTHING
        case ast.Name(id=name) if name not in seen:
            return _of_name(name, module, scope, seen | {name})
    return Origin.NOTHING


def _of_method(of: Origin, method: str) -> Origin:
    if of not in (Origin.SET, Origin.RELATED) or method in _VALUES:
        return Origin.NOTHING
    if method in _ROWS:
        return Origin.ROW if of is Origin.SET else Origin.NOTHING
    return of if of is Origin.SET or method in ("all", "filter", "exclude") else Origin.NOTHING


def _of_name(name: str, module: Module, scope: Scope, seen: frozenset[str]) -> Origin:
    found = scope.find(name)
    if found is None:
        return Origin.NOTHING
    home, bindings = found
    if home.is_module:
        value = module.namespace.get(name, MISSING)
        if isinstance(value, Manager | QuerySet):
            return Origin.SET
        return Origin.ROW if isinstance(value, Model) else Origin.NOTHING
    for binding in bindings:
        if isinstance(binding, Assigned):
            of = origin(binding.value, module, home, seen)
            if of is not Origin.NOTHING:
                return of
    return _of_target(name, module, home, seen)


def _of_target(name: str, module: Module, scope: Scope, seen: frozenset[str]) -> Origin:
    """A parameter with a model as its annotation, or a loop variable over a queryset."""
    if isinstance(scope.node, FunctionNode):
        for argument in (*scope.node.args.args, *scope.node.args.kwonlyargs):
            if argument.arg == name and argument.annotation is not None:
                return Origin.ROW if _is_model(argument.annotation, module, scope) else Origin.NOTHING
    for node in ast.walk(scope.node):
        match node:
            case (
                ast.For(target=ast.Name(id=target), iter=iterated)
                | ast.AsyncFor(target=ast.Name(id=target), iter=iterated)
                | ast.comprehension(target=ast.Name(id=target), iter=iterated)
            ) if target == name:
                of = origin(iterated, module, scope, seen)
                return Origin.ROW if of is Origin.SET else Origin.NOTHING
    return Origin.NOTHING


def _is_model(node: ast.expr, module: Module, scope: Scope) -> bool:
    value = module.value(node, scope)
    return isinstance(value, type) and issubclass(value, Model)
