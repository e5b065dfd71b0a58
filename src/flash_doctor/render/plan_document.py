"""A plan, or the lack of one, as the JSON document of `doctor plan --json` (schema/plan-1.json)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import HEALTHY, NO_PLAN
from flash_doctor.model.plan import Axis, Build, Install, Move, NoPlan, Remove, version_text
from flash_doctor.render.document import PLAN
from flash_doctor.system.commands import without_options, words

if TYPE_CHECKING:
    from flash_doctor.model import CommandLine
    from flash_doctor.model.plan import Alternative, Consultation, Plan, Rejection, Step

NEAREST = 20

Json = dict[str, Any]


def plan_document(answer: Plan | NoPlan, *, every: bool = False) -> Json:
    """The document: without a plan `steps` is empty; `rejected` holds the nearest refusals, or `every` one."""
    without = isinstance(answer, NoPlan)
    counts = Counter(refusal.axis for refusal in answer.rejected)
    return {
        "schema": PLAN,
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


def consultation_document(consultation: Consultation, *, every: bool = False) -> Json:
    """The document of `plan`: also for which machine, how old the facts are, what `--why` answers, what stays open."""
    document = plan_document(consultation.answer, every=every)
    for told, alternative in zip(document["alternatives"], consultation.answer.alternatives, strict=True):
        told["command"] = choose(consultation, alternative)
    knowledge = consultation.knowledge
    return document | {
        "machine": consultation.machine,
        "why": list(consultation.why),
        "notes": list(consultation.notes),
        "facts": {
            "shipped": knowledge.shipped,
            "refreshed": knowledge.refreshed,
            "warnings": list(knowledge.warnings),
        },
    }


def choose(consultation: Consultation, alternative: Alternative) -> CommandLine | None:
    """The command that plans an alternative; None where it is nothing that can be planned."""
    options = _choice(alternative)
    if not alternative.possible or not options:
        return None
    own = consultation.command
    if options[0] == "--want":
        own = without_options(own, "--want", "--stack", "--keep" if "torch" in options[1] else "")
    return words(*own, *options)


def _choice(alternative: Alternative) -> tuple[str, ...]:
    """The options that make the resolver take exactly this one."""
    requirements = [step.requirement for step in alternative.steps if not isinstance(step, Remove)]
    flash = next((line for line in requirements if line.startswith("flash-attn")), "")
    if alternative.move in {Move.TORCH, Move.CUDA}:
        torch = next(line for line in requirements if line.startswith("torch=="))
        return "--want", torch, "--want", flash.partition("+")[0]
    if alternative.move is Move.VERSION:
        return "--want", flash.partition("+")[0]
    return () if alternative.move is Move.FALLBACK else ("--allow", alternative.move.value)


def _step(step: Step) -> Json:
    common: Json = {"action": step.action, "name": step.name, "version": version_text(step), "because": step.because}
    if isinstance(step, Install):
        return {**common, **_install(step)}
    if isinstance(step, Build):
        settings = {"settings": dict(step.settings), "jobs": step.jobs, "minutes": step.minutes, "memory": step.memory}
        source = {"url": step.url, "sha256": step.sha256, "size": step.size, "hash_state": step.hash_state.value}
        needs = [_step(need) for need in step.needs]
        return {**common, "requirement": step.requirement, **settings, **source, "needs": needs}
    return common


def _install(step: Install) -> Json:
    return {
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
