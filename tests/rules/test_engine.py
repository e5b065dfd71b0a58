"""The engine: types in the signature decide, what could not be known is said, and no rule knows another."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import pytest

import flash_doctor.diagnose
import flash_doctor.preflight.rules
import flash_doctor.watch.rules
from flash_doctor.diagnose.registry import CHECKS
from flash_doctor.model import Absent, Part, Severity, Unknown
from flash_doctor.preflight.registry import RULES as CONFIG_RULES
from flash_doctor.rules.documentation import BY_HAND
from flash_doctor.rules.engine import CouldNotLook, Found, Registry, Result, Rule, need, tell
from flash_doctor.watch.findings import RULES as SERIES_RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHECKS.load()
CONFIG_RULES.load()
REGISTRIES: tuple[Mapping[str, Rule], ...] = (CHECKS, CONFIG_RULES, SERIES_RULES)
EVERY = {code: rule for registry in REGISTRIES for code, rule in registry.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    disk: Part[int] = 7
    gpus: Part[int] = 2


Anything: TypeAlias = int | Absent | Unknown
NO_DISK, NO_LOOK = Absent(absent="no disk"), Unknown(unknown="df hangs")


def found(subject: object) -> Found:
    return Found(subject=str(subject), summary="x", severity=Severity.ERROR, evidence=("x",))


def plain(disk: int) -> Iterator[Found]:
    yield found(disk)


def or_absent(disk: int | Absent) -> Iterator[Found]:
    yield found(disk)


def or_unknown(disk: int | Unknown) -> Iterator[Found]:
    yield found(disk)


def part(disk: Part[int]) -> Iterator[Found]:
    yield found(disk)


def by_another_name(disk: Anything) -> Iterator[Found]:
    yield found(disk)


@pytest.mark.parametrize(
    ("function", "absent", "unknown"),
    [
        (plain, False, False),
        (or_absent, True, False),
        (or_unknown, False, True),
        (part, True, True),
        (by_another_name, True, True),
    ],
)
def test_the_type_of_a_parameter_says_what_it_admits(function: object, absent: bool, unknown: bool) -> None:
    assert callable(function)
    rule = Rule(code="X1", function=function)
    assert rule.apply(Parts()).made
    not_there, not_known = rule.apply(Parts(disk=NO_DISK)), rule.apply(Parts(disk=NO_LOOK))
    assert not_there.made is not_there.applies is bool(not_there.findings) is absent
    assert not_known.applies
    assert not_known.made is bool(not_known.findings) is unknown
    assert unknown or (not_known.unchecked is not None and not_known.unchecked.why == "df hangs")


def test_what_is_given_is_passed_on_as_it_is() -> None:
    def of_both(disk: int, facts: str) -> Iterator[Found]:
        yield found(f"{disk} {facts}")

    (finding,) = Rule(code="X1", function=of_both).apply(Parts(), facts="known", more="unused").findings
    assert (finding.code, finding.subject, finding.because_of) == ("X1", "7 known", ())


def test_what_was_found_before_a_detail_could_not_be_known_stays_found() -> None:
    def first_one_then_not(disk: int, gpus: Part[int]) -> Iterator[Found]:
        yield found(disk)
        yield found(need(gpus))

    result = Rule(code="X1", function=first_one_then_not).apply(Parts(gpus=NO_LOOK))
    assert [finding.subject for finding in result.findings] == ["7"]
    assert not result.made


def test_need_opens_a_detail() -> None:
    assert need(3) == need(3, absent=None) == 3
    assert need(Absent(), absent=None) is None
    for detail, what, why in ((NO_LOOK, "", "df hangs"), (NO_DISK, "", "no disk"), (Absent(), "no GPU", "no GPU")):
        with pytest.raises(CouldNotLook, match=why):
            need(detail, what)
    with pytest.raises(CouldNotLook, match="df hangs"):
        need(NO_LOOK, absent=0)


def test_a_finding_without_severity_and_two_rules_of_one_code_are_refused() -> None:
    with pytest.raises(ValueError, match="X1 tells no severity"):
        tell("X1", Found(subject="x", summary="x"))
    registry: Registry[Rule] = Registry("flash_doctor.diagnose")
    registry.add(Rule(code="X1", function=plain))
    with pytest.raises(ValueError, match="two rules are called X1"):
        registry.add(Rule(code="X1", function=part))


def test_the_types_of_every_rule_can_be_told_from_its_module() -> None:
    """An import for the type checker alone would fail on the first machine that lacks the part."""
    for rule in (*CHECKS.values(), *CONFIG_RULES.values()):
        for name in set(rule.parameters) - {"facts", "scene"}:
            assert rule._admitted(name), f"{rule.code}: {name}"


def modules() -> list[ModuleType]:
    """Those that hold rules, and what these share."""
    packages = (flash_doctor.diagnose, flash_doctor.preflight.rules)
    named = [
        f"{package.__name__}.{each.name}" for package in packages for each in pkgutil.iter_modules(package.__path__)
    ]
    return [*map(importlib.import_module, named), flash_doctor.watch.rules]


def trees() -> Iterator[tuple[ModuleType, ast.Module]]:
    for module in modules():
        yield module, ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))


def called(module: ModuleType, tree: ast.Module) -> Iterator[tuple[int, object]]:
    """Every function that a module names in its own code, called or handed on, with the line."""
    parameters = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and node.id in {argument.arg for argument in function.args.args}
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in parameters:
            yield node.lineno, vars(module).get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = vars(module).get(node.value.id)
            yield node.lineno, getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None


def test_no_rule_calls_another_rule() -> None:
    functions = {rule.function: code for code, rule in EVERY.items()}
    assert len(functions) > 150
    named = [
        f"{module.__name__}:{line} names {functions[function]}"
        for module, tree in trees()
        for line, function in called(module, tree)
        if inspect.isfunction(function) and function in functions
    ]
    assert named == []


def test_no_rule_names_a_code_but_where_it_is_registered() -> None:
    """What silences what is the table's to say."""
    named = []
    for module, tree in trees():
        registered = {
            id(argument)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            for decorator in node.decorator_list
            if isinstance(decorator, ast.Call)
            for argument in decorator.args
        }
        named += [
            f"{module.__name__}:{node.lineno} says {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in EVERY and id(node) not in registered
        ]
    assert named == []


def test_a_result_without_a_subject_was_not_made() -> None:
    rule = Rule(code="X1", function=plain)
    assert not Result(rule=rule, applies=False).made


def test_every_rule_has_a_page_of_one_make() -> None:
    from flash_doctor import diagnose
    from flash_doctor.facts import Facts
    from flash_doctor.preflight.registry import meanings as of_config
    from flash_doctor.watch.messages import MEANINGS, meanings as of_watch

    facts = Facts()
    pages = [*diagnose.meanings(), *of_config(facts.preflight), *of_watch(facts.watch)]
    rules = [page for page in pages if page not in MEANINGS]
    assert {page.code for page in rules} >= EVERY.keys()
    for page in rules:
        assert page.title.endswith("."), page.code
        assert any(paragraph.startswith(BY_HAND) for paragraph in page.cause.split("\n\n")), page.code
        assert page.remedy, page.code
        assert page.family, page.code
