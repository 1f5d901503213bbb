"""What the default validator finds in a corpus of broken steps, and that it lets fifty clean ones pass."""

import importlib
import inspect
import pkgutil
import re
import types
from collections import Counter
from collections.abc import Iterator
from types import FunctionType, ModuleType

import pytest

from runtime.agents import StepFunction
from runtime.contract.default import ContractValidator
from runtime.contract.findings import Finding
from runtime.contract.rules import CODES
from tests.contract.corpus import broken, clean

MARK = re.compile(r"#\s*breaks:\s*([a-z, ]+)")


def modules_of(package: ModuleType) -> list[ModuleType]:
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def steps_of(module: ModuleType) -> Iterator[StepFunction]:
    for name, function in vars(module).items():
        if isinstance(function, FunctionType) and function.__module__ == module.__name__:
            step = StepFunction(name, function)
            if next(iter(inspect.signature(function).parameters), "") == "context":
                yield step


def expected(module: ModuleType) -> Counter[tuple[int, str]]:
    """What the lines of a module say that they break; `clock, clock` are two different uses of the clock."""
    found: Counter[tuple[int, str]] = Counter()
    for number, line in enumerate(inspect.getsource(module).splitlines(), start=1):
        if (mark := MARK.search(line)) is not None:
            found.update((number, code.strip()) for code in mark[1].split(","))
    return found


def validate(step: StepFunction) -> list[Finding]:
    return ContractValidator().validate(step)


CLEAN = [step for module in modules_of(clean) for step in steps_of(module)]


def test_there_are_fifty_clean_steps():
    assert len(CLEAN) >= 50


@pytest.mark.parametrize(
    "step", CLEAN, ids=lambda step: f"{step.function.__module__.rpartition('.')[2]}.{step.name}"
)
def test_a_clean_step_has_no_findings(step):
    assert [str(finding) for finding in validate(step)] == []


@pytest.fixture(scope="module")
def findings() -> set[Finding]:
    """In the broken steps; a helper that several reach counts once."""
    return {
        finding for module in modules_of(broken) for step in steps_of(module) for finding in validate(step)
    }


@pytest.mark.parametrize("module", modules_of(broken), ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_violation_is_found_and_nothing_else(module, findings):
    found = Counter((finding.line, finding.code) for finding in findings if finding.file == module.__file__)

    assert found == expected(module)


def test_the_corpus_has_every_class_and_all_of_it_is_found(findings, capsys):
    places = Counter((finding.file, finding.line, finding.code) for finding in findings)
    total: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for module in modules_of(broken):
        for (line, code), number in expected(module).items():
            total[code] += number
            found[code] += min(number, places[module.__file__ or "", line, code])
    alarms = sum(len(validate(step)) for step in CLEAN)
    with capsys.disabled():
        print(
            f"\nviolations found: {found.total()}/{total.total()}; in {len(CLEAN)} clean steps: {alarms} alarms"
        )
        print("  " + ", ".join(f"{code} {found[code]}/{total[code]}" for code in sorted(total)))

    assert total.keys() == CODES | {"suppression"}
    assert found == total
    assert alarms == 0


def test_a_finding_says_where_why_and_what_to_do_instead():
    from tests.contract.corpus.broken import clock

    [finding] = validate(StepFunction("plain", clock.plain))

    assert finding.place == f"{clock.__file__}:{clock.plain.__code__.co_firstlineno + 1}"
    assert finding.reason == "`time.time` reads the clock, which says something else on every attempt"
    assert finding.replacement == "`context.now()`"


def test_findings_in_helpers_are_told_where_the_helper_is():
    from tests.contract.corpus.broken import clock, elsewhere

    findings = validate(StepFunction("elsewhere_too", clock.elsewhere_too))

    assert [finding.file for finding in findings] == [elsewhere.__file__]


def test_a_step_without_source_is_a_warning():
    namespace: dict[str, object] = {}
    exec("def typed_in(context): pass", namespace)
    function = namespace["typed_in"]
    assert isinstance(function, types.FunctionType)

    [finding] = validate(StepFunction("typed_in", function))

    assert (finding.code, finding.warning) == ("unreadable", True)


def test_steps_may_be_partials_methods_and_callable_objects():
    import functools
    import time

    def read(context, unit):
        return time.time() * unit

    class Reader:
        def __call__(self, context):
            return time.time()

        def method(self, context):
            return time.time()

    @functools.wraps(read)
    def wrapped(*args, **kwargs):
        return read(*args, **kwargs)

    for function in (
        functools.partial(read, unit=1),
        Reader(),
        Reader().method,
        wrapped,
        lambda context: time.time(),
    ):
        assert [finding.code for finding in validate(StepFunction("any", function))] == ["clock"], function
