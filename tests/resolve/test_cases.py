"""The ward: one file per machine in tests/cases, with the goal and what must come of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.model import Goal
from flash_doctor.model.plan import Install, NoPlan, Plan
from flash_doctor.resolve import resolve
from seats import described, facts, wheels, with_packages

CASES = sorted((Path(__file__).parents[1] / "cases").glob("*.json"))
EXPECTATIONS = {
    "wheel", "steps", "hash", "manual", "no_plan", "command", "because", "refused", "alternatives", "not_offered",
    "impossible", "error",
}  # fmt: skip


def answer(case: dict[str, Any]) -> Plan | NoPlan:
    environment = described(case["machine"])
    if "installed" in case:
        environment = with_packages(environment, case["installed"])
    goal = Goal(**{key: tuple(words) for key, words in case.get("goal", {}).items()})
    return resolve(goal, environment, wheels(), facts())


def test_the_ward_is_full() -> None:
    assert len(CASES) >= 40
    assert sum(bool(json.loads(path.read_text())["source"]) for path in CASES) >= 25


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = json.loads(path.read_text())
    expect = case["expect"]
    assert expect
    assert expect.keys() <= EXPECTATIONS
    if "error" in expect:
        with pytest.raises(BadInput, match=expect["error"]):
            answer(case)
        return
    found = answer(case)
    assert isinstance(found, NoPlan) == expect.get("no_plan", False), found.because
    _check_plan(found, expect)
    _check_refusals(found, expect)
    _check_alternatives(found, expect)


def _check_plan(found: Plan | NoPlan, expect: dict[str, Any]) -> None:
    assert expect.get("because", "") in " ".join(found.because)
    if isinstance(found, NoPlan):
        assert found.command == expect.get("command")
        return
    wheel = found.wheel
    if "wheel" in expect:
        assert wheel is not None
        assert wheel.filename == expect["wheel"]
    if "hash" in expect:
        assert wheel is not None
        assert wheel.hash_state.value == expect["hash"]
    if "steps" in expect:
        assert [step.requirement for step in found.steps if isinstance(step, Install)] == expect["steps"]
    assert expect.get("manual", "") in " ".join(found.manual)


def _check_refusals(found: Plan | NoPlan, expect: dict[str, Any]) -> None:
    axes = {(refusal.wheel.filename, refusal.axis.value) for refusal in found.rejected}
    for name, axis in expect.get("refused", ()):
        assert (name, axis) in axes, (name, [one for one in axes if one[0] == name])


def _check_alternatives(found: Plan | NoPlan, expect: dict[str, Any]) -> None:
    """The expected ones occur in that order; a sentence of their change holds the given words."""
    offered = iter(found.alternatives)
    for move, words, risk in expect.get("alternatives", ()):
        assert any(
            (one.move.value, one.risk.value) == (move, risk) and words in " | ".join(one.change) for one in offered
        ), (move, words, [(one.move.value, one.change, one.risk.value) for one in found.alternatives])
    moves = {one.move.value: one.possible for one in found.alternatives}
    assert not moves.keys() & set(expect.get("not_offered", ()))
    assert all(moves[move] is False for move in expect.get("impossible", ()))
