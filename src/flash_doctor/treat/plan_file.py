"""A plan back from the document that `doctor plan --json` printed, or that lies in a bundle."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flash_doctor.codec import decode
from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.model import Goal
from flash_doctor.model.plan import Build, Install, Plan, Remove
from flash_doctor.system.url import named_file

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.model.plan import Step

SCHEMA = "flash-doctor/plan/1"
NAME = "plan.json"
_KINDS: dict[str, type[Step]] = {"install": Install, "remove": Remove, "build": Build}
_LIMIT = 64 << 20  # bytes; a pipe or a device may never end
_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)
_ADVICE = "Make one with: flash-doctor plan --json > plan.json"


def read_plan(path: Path) -> Plan:
    """The plan in a file.

    Raises:
        BadInput: not readable, of another schema, or a value that does not fit, named by its path.
        NoPlanFound: the document says that there is no plan.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LIMIT + 1)
        data = json.loads(text) if len(text) <= _LIMIT else {}
    except (OSError, ValueError, RecursionError) as error:
        message = f"the plan {path} cannot be read"
        raise BadInput(message, evidence=(str(error),), advice=_ADVICE) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        message = f"{path} is no plan that this version of flash-doctor can read"
        raise BadInput(message, evidence=(f"its schema should be {SCHEMA!r}",), advice=_ADVICE)
    steps = tuple(_step(item, f"$.steps[{index}]") for index, item in enumerate(_list(data, "steps")))
    if not steps:
        message = f"{path} holds no step"
        raise NoPlanFound(message, evidence=[str(line) for line in _list(data, "because")])
    goal = decode(Goal, data.get("goal", {}), "$.goal")
    return Plan(goal=goal, steps=steps, because=tuple(str(line) for line in _list(data, "because")))


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        message = f"$.{key}: expected list, found {type(value).__name__}"
        raise BadInput(message)
    return value


def _step(data: Any, path: str) -> Step:
    if not isinstance(data, dict) or not isinstance(data.get("action"), str) or data["action"] not in _KINDS:
        message = f"{path}.action: expected one of {', '.join(_KINDS)}"
        raise BadInput(message)
    if isinstance(data.get("settings"), dict):
        data = {**data, "settings": [list(item) for item in data["settings"].items()]}
    if isinstance(data.get("sha256"), str):
        data = {**data, "sha256": data["sha256"].lower()}
    step = decode(_KINDS[data["action"]], {key: value for key, value in data.items() if key != "wheel"}, path)
    for file in step.files:
        _check_requirement(file, path)
        _check_file(file, path)
    return step


def _check_file(step: Install | Build, path: str) -> None:
    """Address and hash become names of files and words of a requirements file: they must be nothing else."""
    if step.url is not None:
        named_file(step.url)
    if step.sha256 is not None and not _SHA256.fullmatch(step.sha256):
        message = f"{path}.sha256: expected 64 hexadecimal digits"
        raise BadInput(message)
    if step.size is not None and step.size < 0:
        message = f"{path}.size: {step.size} bytes are no size"
        raise BadInput(message)


def _check_requirement(step: Install | Build, path: str) -> None:
    """It becomes a line of a requirements file: it must be one requirement, for the distribution that is named."""
    try:
        name = Requirement(step.requirement).name
    except InvalidRequirement as error:
        message = f"{path}.requirement: {error}"
        raise BadInput(message) from error
    if canonicalize_name(name) != step.name:
        message = f"{path}.requirement: {name} is not {step.name}"
        raise BadInput(message)
