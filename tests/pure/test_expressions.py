"""Data flows by references and CEL; what cannot be read or has no value says so, and where."""

import contextlib
import json
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import expressions
from runtime.expressions import ExpressionFailed, ExpressionInvalid, evaluate, references

NAMES: dict[str, Any] = {
    "input": {"order_id": 7, "name": "Ada", "big": 2**70, "none": None, "list": [1, {"id": "x"}], "f": 1.0},
    "order": {"amount": 40, "items": [{"sku": "a", "qty": 2}, {"sku": "b", "qty": 0}], "z": 1, "a": {}},
    "skipped": None,
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("${input.order_id}", 7),
        ("${ input.order_id }", 7),
        ("order ${input.order_id}!", "order 7!"),
        ("${input.name}${input.name}", "AdaAda"),
        ("${input.none}", None),
        ("<${input.none}>", "<null>"),
        ("<${input.f}>", "<1.0>"),
        ("${input.big}", 2**70),
        ("${input.list[1].id}", "x"),
        ("${input.list}", [1, {"id": "x"}]),
        ("${skipped}", None),
        ('{"items": ${input.list}}', '{"items": [1,{"id":"x"}]}'),
        ("$${input.name}", "${input.name}"),
        ("costs $5 {so}", "costs $5 {so}"),
        ("a $${b ${input.name}", "a ${b Ada"),
        ("$$", "$$"),
        ("${order.amount > 100.0}", False),
        ("${order.amount >= 40.0}", True),
        ("${order.amount * 2}", 80),
        ("${order.items.filter(item, item.qty > 0).map(item, item.sku)}", ["a"]),
        ("${order.items.all(x, x.qty >= 0) ? 'ok' : 'bad'}", "ok"),
        ("${{'a': {'b': input.order_id}}.a.b}", 7),
        ("${'}' + \"{\" + input.name}", "}{Ada"),
        ("${'it\\'s }'}", "it's }"),
        ("${r'\\d}'}", "\\d}"),
        ("${size(order.items)}", 2),
        ("${has(order.missing)}", False),
        ("${skipped == null ? 'nobody' : skipped.who}", "nobody"),
        ("${'é𝄞'}", "é𝄞"),
        ({"a": ["${input.order_id}", {"b": "${order.amount}"}], "c": 1.5}, {"a": [7, {"b": 40}], "c": 1.5}),
        ({"${input.name}": 1}, {"${input.name}": 1}),
        (None, None),
    ],
)
def test_a_template_becomes_its_value(template: Any, value: Any) -> None:
    answer = evaluate(template, NAMES)

    assert answer == value
    assert type(answer) is type(value)


def test_a_reference_keeps_the_order_of_keys() -> None:
    assert list(evaluate("${order}", NAMES)) == ["amount", "items", "z", "a"]


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("nothing", set()),
        ("${order.items[0].sku}", {"order"}),
        ({"a": "${a.b} and ${c}", "d": ["${e > f}"]}, {"a", "c", "e", "f"}),
        ("${items.all(x, x > limit)}", {"items", "limit"}),
        ("${x + [1].map(x, x * 2)[0]}", {"x"}),
        ("${a.map(x, b.map(y, x + y + z))}", {"a", "b", "z"}),
        ("${a.x.map(x, x)}", {"a"}),
        ("${map(a)[0]}", None),
        ("${{'key': value, key: 'text'}}", {"value", "key"}),
        ("${'order.amount' + \"input\"}", set()),
        ("${true && null == false}", set()),
        ("${size(a) > b.size()}", {"a", "b"}),
        ("${has(a.b) ? a.b : c}", {"a", "c"}),
        ("${a.b in ['x']}", {"a"}),
        ("${b'bytes' == c}", {"c"}),
        ("$${not}", set()),
        ("${1.5e3 > a}", {"a"}),
    ],
)
def test_references_are_the_names_that_nothing_binds(template: Any, names: set[str] | None) -> None:
    if names is None:
        with pytest.raises(ExpressionInvalid):
            references(template)
    else:
        assert references(template) == names


@pytest.mark.parametrize(
    ("expression", "position", "reason"),
    [
        ("a +", 3, "mismatched input"),
        ("a > > b", 4, ""),
        ("a\n + * b", 5, ""),
        ("", 0, ""),
        ("if", 0, "reserved"),
        ("shell('rm')", None, "no function 'shell'"),
        ("a.amount.plus(1)", None, "no function 'plus'"),
        ("(" * 3000 + "1" + ")" * 3000, None, "longer than 4000"),
        ("(" * 1500 + "1" + ")" * 1500, None, ""),
        ("[1].map(a,[1].map(b,[1].map(c,[1].map(d,d))))", None, "nest deeper"),
    ],
)
def test_an_expression_that_cannot_be_read_says_where(
    expression: str, position: int | None, reason: str
) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        expressions.compiled(expression)

    assert reason in str(refused.value)
    assert position is None or refused.value.position == position
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("template", ["${a", "x ${'}'", "${a {", "${"])
def test_an_expression_without_an_end_is_refused(template: str) -> None:
    with pytest.raises(ExpressionInvalid, match="never closed"):
        references(template)


@pytest.mark.parametrize(
    ("expression", "missing", "reason"),
    [
        ("unknown.a", "unknown", "not known here"),
        ("unknown > 1", "unknown", "not known here"),
        ("order.total", "order.total", "order has no 'total'; it has a, amount, items, z"),
        ("order.items[2].sku", "order.items[2]", "order.items has only 2 items"),
        ("order.items.sku", "order.items.sku", "order.items is a list, not an object"),
        ("order.amount[0]", "order.amount[0]", "order.amount is a number, not a list"),
        ("skipped.who", "skipped.who", "skipped is null"),
        ("order.total > 1", "total", "there is no 'total'"),
        ("order.items[5].qty > 1", None, "index out of bounds"),
        ("order.amount / 0", None, "division by zero"),
        ("order.amount * 2.5", None, "No such overload"),
        ("9223372036854775807 + order.amount", None, "overflow"),
        ("timestamp('2026-01-01T00:00:00Z')", None, "datetime, which is not JSON"),
        ("[duration('1s')]", None, "timedelta, which is not JSON"),
        ("{'a': b'x'}", None, "bytes, which is not JSON"),
        ("{1: 2}", None, "keys that are not texts"),
        ("0.0 / 0.0", None, "not finite"),
        ("type(1) == type(order) ? 1 : int('x')", None, ""),
    ],
)
def test_an_expression_without_a_value_says_what_was_missing(
    expression: str, missing: str | None, reason: str
) -> None:
    with pytest.raises(ExpressionFailed) as failed:
        expressions.value_of(expression, NAMES)

    assert failed.value.expression == expression
    assert failed.value.missing == missing
    assert reason in failed.value.reason


def test_a_value_that_cel_cannot_take_is_a_failure_and_not_a_crash() -> None:
    with pytest.raises(ExpressionFailed):
        expressions.value_of("a == 1", {"a": {1, 2}})


def test_an_object_in_a_text_reads_the_same_in_whatever_order_its_keys_came() -> None:
    assert evaluate("<${a}>", {"a": {"long": 1, "b": 2}}) == evaluate("<${a}>", {"a": {"b": 2, "long": 1}})


@given(st.text("ab$ {}'\"\\x.", max_size=20))
def test_any_text_has_a_value_or_a_typed_error(text: str) -> None:
    try:
        assert isinstance(evaluate(text, {"a": {"b": "c"}, "b": "d"}), (str, dict, list, int, float))
    except (ExpressionInvalid, ExpressionFailed):
        assert "${" in text


@given(st.text(max_size=20))
def test_a_value_is_never_read_as_a_template(text: str) -> None:
    assert evaluate("${a}", {"a": "${b}" + text}) == "${b}" + text
    assert evaluate("<${a}>", {"a": "${b}" + text}) == "<${b}" + text + ">"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_passes_through_cel_unchanged(value: Any) -> None:
    answer = expressions.value_of("[a][0]", {"a": value})

    assert json.dumps(answer, sort_keys=True) == json.dumps(value, sort_keys=True)


def test_many_threads_share_one_program() -> None:
    program = expressions.compiled("order.items.filter(i, i.qty > least).map(i, i.qty * 2)")
    wrong: list[Any] = []

    def run(number: int) -> None:
        names = {"order": {"items": [{"qty": number + i} for i in range(20)]}, "least": number + 9}
        for _ in range(300):
            answer = program.value(names)
            if answer != [(number + i) * 2 for i in range(10, 20)]:
                wrong.append((number, answer))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "${" + '\\"' * 300_000,
        "${" + "\\'" * 300_000,
        '${"""' + '\\"""' * 200_000,
        "${'''" + "''\\'" * 200_000,
        "${r" * 100_000,
        "${" * 5000,
        "${'" * 5000,
        "$" * 50_000 + "{",
        "${a}" * 5000,
        '${"""' * 3000,
    ],
)
def test_long_texts_are_read_in_linear_time(text: str) -> None:
    began = time.process_time()

    with contextlib.suppress(ExpressionInvalid):
        references(text)

    assert time.process_time() - began < 5  # a tenth of a second on an idle machine


@pytest.mark.parametrize(
    "expression",
    [
        "input.map(x, input.filter(y, y == x))",
        "[0].map(a, input.map(b, input.exists(c, c == b)))",
        "input.exists(a, (input + input + input).exists(b, b == a))",
    ],
)
def test_macros_that_go_round_too_often_are_refused_before_they_begin(expression):
    assert expressions.value_of(expression, {"input": [1, 2, 3]}) is not None
    began = time.process_time()
    with pytest.raises(ExpressionFailed, match="go round"):
        expressions.value_of(expression, {"input": list(range(2000))})
    assert time.process_time() - began < 5


def test_texts_that_grow_too_long_are_not_joined():
    with pytest.raises(ExpressionFailed, match="join"):
        expressions.value_of("+".join(["input"] * 100), {"input": "x" * 1_000_000})
    assert expressions.value_of("input + '!'", {"input": "x" * 1_000_000}).endswith("x!")
