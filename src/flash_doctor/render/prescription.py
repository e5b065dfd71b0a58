"""A plan, or the lack of one, as the JSON document of `doctor plan --json` (schema/plan-1.json)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import HEALTHY, NO_PLAN
from flash_doctor.model.plan import Axis, Build, Install, NoPlan

if TYPE_CHECKING:
    from flash_doctor.model.plan import Alternative, Plan, Rejection, Step

SCHEMA = "flash-doctor/plan/1"
NEAREST = 20

Json = dict[str, Any]


def plan_document(answer: Plan | NoPlan, *, every: bool = False) -> Json:
    """The document: without a plan `steps` is empty; `rejected` holds the nearest refusals, or `every` one."""
    without = isinstance(answer, NoPlan)
    counts = Counter(refusal.axis for refusal in answer.rejected)
    return {
        "schema": SCHEMA,
        "goal": {
            "wanted": list(answer.goal.wanted),
            "keep": list(answer.goal.keep),
            "allow": list(answer.goal.allow),
        },
        "steps": [] if isinstance(answer, NoPlan) else [_step(step) for step in answer.steps],
        "manual": [] if isinstance(answer, NoPlan) else list(answer.manual),
        "because": list(answer.because),
        "candidates": [] if isinstance(answer, NoPlan) else [wheel.filename for wheel in answer.candidates[:NEAREST]],
        "refused": {axis.value: counts[axis] for axis in Axis},
        "rejected": [_refusal(one) for one in (answer.rejected if every else answer.rejected[:NEAREST])],
        "alternatives": [_alternative(one) for one in answer.alternatives],
        "command": answer.command if isinstance(answer, NoPlan) else None,
        "exit_code": NO_PLAN if without else HEALTHY,
    }


def _step(step: Step) -> Json:
    common: Json = {"name": step.name, "because": step.because}
    if isinstance(step, Install):
        return {"action": "install", **common, **_install(step)}
    if isinstance(step, Build):
        settings = {"settings": dict(step.settings), "jobs": step.jobs, "minutes": step.minutes, "memory": step.memory}
        return {"action": "build", **common, "requirement": step.requirement, **settings}
    return {"action": "remove", **common}


def _install(step: Install) -> Json:
    return {
        "version": step.wheel.version if step.wheel else step.requirement.partition("==")[2] or None,
        "requirement": step.requirement,
        "filename": step.wheel.filename if step.wheel else None,
        "url": step.url,
        "sha256": step.sha256,
        "size": step.size,
        "hash_state": step.hash_state.value,
        "indexes": list(step.indexes),
        "publisher": step.wheel.family.publisher if step.wheel else None,
        "evidence": step.wheel.family.evidence.value if step.wheel else None,
    }


def _refusal(refusal: Rejection) -> Json:
    return {
        "wheel": refusal.wheel.filename,
        "publisher": refusal.wheel.family.publisher,
        "axis": refusal.axis.value,
        "why": refusal.why,
        "axes": [axis.value for axis in refusal.axes],
    }


def _alternative(alternative: Alternative) -> Json:
    return {
        "move": alternative.move.value,
        "change": list(alternative.change),
        "steps": [_step(step) for step in alternative.steps],
        "risk": alternative.risk.value,
        "cost": alternative.cost,
        "possible": alternative.possible,
    }
