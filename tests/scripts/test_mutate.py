"""The tool that asks whether tests notice: its changes are programs, its sample is the same each time."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mutate(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "dev"))
    yield import_module("mutate")
    del sys.modules["mutate"]


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a < b", {"(a <= b)"}),
        ("a and b", {"(a or b)"}),
        ("not a", {"(a)"}),
        ("a + b", {"(a - b)"}),
        ("a if b else c", {"(a)", "(c)"}),
        ("Severity.ERROR", {"Severity.WARNING"}),
        ("return a", {"return None"}),
        ("return None", set()),
        ("f(a)", {"pass"}),
        ("if a:\n    b()", {"if True:\n    b()", "if False:\n    b()", "pass"}),
        ("3", {"4"}),
        ("True", {"False"}),
        ("'text'", set()),
    ],
)
def test_the_changes_to_a_line(mutate: Any, source: str, changed: set[str]) -> None:
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.expr, ast.stmt))]
    assert {text for node in nodes for _, text in mutate.mutations(node)} == changed


def test_every_change_is_a_program_of_its_own(mutate: Any) -> None:
    for module in mutate.TARGETS:
        source = (mutate.ROOT / mutate.SOURCE / module).read_bytes()
        every = list(mutate.changes(module))
        assert every
        assert len({change.name for change in every}) == len(every)
        for change in every[::40]:
            assert ast.dump(ast.parse(change.made_in(source))) != ast.dump(ast.parse(source)), change.name


def test_the_tests_of_a_target_are_there(mutate: Any) -> None:
    assert [test for tests in mutate.TARGETS.values() for test in tests if not (ROOT / test).exists()] == []


def test_a_sample_is_drawn_by_its_seed(mutate: Any) -> None:
    modules = ["rules/score.py", "install/swap.py"]
    assert mutate.drawn(modules, 20, "a") == mutate.drawn(modules, 20, "a")
    assert mutate.drawn(modules, 20, "a") != mutate.drawn(modules, 20, "b")
    assert len(mutate.drawn(modules, 20, "a")) == 20
