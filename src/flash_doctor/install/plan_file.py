"""A plan back from the document that `doctor plan --json` printed, or that lies in a bundle.

Whoever wrote it: its addresses are taken apart, its files must be what they are said to be, and who vouches for their
hashes is looked up anew in the doctor's facts; the document's own word for it is passed over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from packaging.utils import (
    parse_sdist_filename,
)
from packaging.version import Version

from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.install.compile import accept_settings
from flash_doctor.install.fetch import in_folders
from flash_doctor.model.plan import Build, Install, Plan, Remove, Step
from flash_doctor.model.wheel import HashState, Wheel
from flash_doctor.system.bounds import read_json, wheel_name
from flash_doctor.system.claims import LARGEST, Claimed, is_sha256
from flash_doctor.system.codec import decode
from flash_doctor.system.redact import cut
from flash_doctor.system.requirement import parse as parse_requirement, specifiers, valid_name
from flash_doctor.system.url import Address, named_file, parse, public, to_open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from packaging.utils import NormalizedName

    from flash_doctor.install.fetch import Sources
    from flash_doctor.model import Goal

File = TypeVar("File", Install, Build)

SCHEMA = "flash-doctor/plan/1"
NAME = "plan.json"
_LIMIT = 64 << 20  # bytes; a pipe or a device may never end
_ADVICE = "Make one with: `flash-doctor plan --json > plan.json`"
# what the document says beside a step for whoever reads it, and what we look up ourselves
_FOR_READERS = {"filename", "publisher", "evidence"}
_PARTS = {
    "schema", "goal", "steps", "manual", "because", "candidates", "refused", "rejected", "alternatives", "command",
    "exit_code", "machine", "why", "notes", "facts",
}  # fmt: skip
_MOST = 1 << 20  # jobs, minutes: more is no plan


def read_plan(path: Path, wheels: Callable[[], Iterable[Wheel]]) -> Plan:
    """The plan in a file; `wheels` are those of the doctor's facts.

    Raises:
        BadInput: not readable, of another schema, or a value that does not fit or is not believed, named by its path.
        NoPlanFound: the document says that there is no plan.
    """
    return accept(_claimed(path), wheels)


def _claimed(path: Path) -> Claimed[Plan]:
    try:
        with path.open("rb") as file:  # a pipe will do: --plan <(...)
            text = file.read(_LIMIT + 1)
        document = read_json(text, limit=_LIMIT, unique=True, origin=str(path))
    except (OSError, ValueError) as error:
        message = f"the plan {path} cannot be read"
        raise BadInput(message, evidence=(str(error),), advice=_ADVICE) from error
    return decode(Plan, _shaped(document))


def _shaped(document: Claimed[Any]) -> Claimed[Any]:
    """What the document says in the shape of the model, still a claim."""
    data, path = document.unproved(), document.origin
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        message = f"{path} is no plan that this version of flash-doctor can read"
        raise BadInput(message, evidence=(f"its schema should be {SCHEMA!r}",), advice=_ADVICE)
    if unknown := sorted(cut(str(key), 80) for key in data.keys() - _PARTS):
        message = f"$.{unknown[0]}: no such key in a plan"
        raise BadInput(message)
    steps = _list(data, "steps")
    if not steps:
        message = f"{path} holds no step"
        raise NoPlanFound(message, evidence=[str(line) for line in _list(data, "because")])
    shape: dict[str, Any] = {
        "goal": data.get("goal", {}),
        "steps": [_shape(step, f"$.steps[{index}]") for index, step in enumerate(steps)],
        "because": [str(line) for line in _list(data, "because")],
    }
    return Claimed(shape, path)


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        message = f"$.{key}: expected list, found {type(value).__name__}"
        raise BadInput(message)
    return value


def _shape(data: Any, path: str) -> Any:
    """A step of the document in the shape of the model; documents of 0.1.0 name the version in the requirement only."""
    if not isinstance(data, dict):
        return data
    if "wheel" in data:
        message = f"{path}.wheel: no such key in a step of a plan"
        raise BadInput(message)
    step = {key: value for key, value in data.items() if key not in _FOR_READERS}
    if isinstance(step.get("settings"), dict):
        step["settings"] = [list(item) for item in step["settings"].items()]
    if isinstance(step.get("sha256"), str):
        step["sha256"] = step["sha256"].lower()
    if isinstance(step.get("needs"), list):
        step["needs"] = [_shape(need, f"{path}.needs[{index}]") for index, need in enumerate(step["needs"])]
    return step


def accept(claim: Claimed[Plan], wheels: Callable[[], Iterable[Wheel]]) -> Plan:
    """The plan as ours.

    Raises:
        BadInput: a name, a requirement, an address, a file's name or a hash that is none; a file that is another
            than the doctor's facts know at that address.
    """
    plan = claim.unproved()
    genuine = _Genuine(wheels)
    steps = tuple(_accepted(step, f"$.steps[{index}]", genuine) for index, step in enumerate(plan.steps))
    return Plan(goal=_goal(plan.goal), steps=steps, because=plan.because)


def _goal(goal: Goal) -> Goal:
    for word in (*goal.wanted, *goal.keep, *goal.allow):
        if not word.isprintable():
            message = f"$.goal: {word!r} is no requirement"
            raise BadInput(message)
    return goal


def _accepted(step: Step, path: str, genuine: _Genuine) -> Step:
    _demand_name(step.name, path)
    if isinstance(step, Remove):
        return step
    if isinstance(step, Install):
        return _accepted_file(step, path, genuine)
    if not all(0 <= number <= _MOST for number in (step.jobs, step.minutes)) or not 0 <= step.memory < LARGEST:
        message = f"{path}: no machine has so many jobs, minutes or bytes"
        raise BadInput(message)
    needs = tuple(_accepted_file(need, f"{path}.needs[{index}]", genuine) for index, need in enumerate(step.needs))
    return replace(_accepted_file(step, path, genuine), settings=accept_settings(step.settings), needs=needs)


def _demand_name(name: NormalizedName, path: str) -> None:
    """It becomes a word of commands and a part of file names: one as the specification writes it, and nothing else."""
    try:
        valid_name(name)
    except BadInput as error:
        message = f"{path}.name: {name!r} is no name of a distribution"
        raise BadInput(message) from error


def _accepted_file(step: File, path: str, genuine: _Genuine) -> File:
    _demand_name(step.name, path)
    if step.sha256 is not None and not is_sha256(step.sha256):
        message = f"{path}.sha256: expected 64 hexadecimal digits"
        raise BadInput(message)
    if step.size is not None and not 0 <= step.size < LARGEST:
        message = f"{path}.size: {step.size} bytes are no size"
        raise BadInput(message)
    step = replace(step, version=_version(step, path))
    if isinstance(step, Install):
        for index in step.indexes:
            to_open(index)
    if step.url is None:
        return step
    to_open(step.url)
    _demand_file(step, named_file(step.url), path)
    return genuine.vouched(step, path)


def at_hand(plan: Plan, sources: Sources) -> Plan:
    """The plan with the files that only it vouches for shown as what they are, where they lie here: local files.

    Nobody compared them with anything at the addresses that the plan names.
    """
    return replace(plan, steps=tuple(_local(step, sources) for step in plan.steps))


def _local(step: Step, sources: Sources) -> Step:
    if isinstance(step, Remove) or step.hash_state is not HashState.CLAIMED or not step.url:
        return step
    found = in_folders(step.url, step.sha256, sources)
    return replace(step, url=found.as_uri()) if found else step


def _version(step: Install | Build, path: str) -> Version | None:
    """The step's version; its requirement becomes a line of a requirements file, so it must be one, and agree."""
    try:
        wanted = parse_requirement(step.requirement)
    except BadInput as error:
        message = f"{path}.requirement: {error.message}"
        raise BadInput(message) from error
    if wanted.name != step.name or wanted.url:
        message = f"{path}.requirement: {step.requirement!r} is not {step.name}"
        raise BadInput(message)
    clauses = specifiers(wanted.specifier)
    exact = [clause.version for clause in clauses if clause.operator == "==" and "*" not in clause.version]
    version = step.version or (Version(exact[0]) if len(exact) == 1 else None)
    if version is not None and not wanted.admits(version):
        message = f"{path}.version: {version} is not what {step.requirement} asks for"
        raise BadInput(message)
    return version


def _demand_file(step: Install | Build, address: Address, path: str) -> None:
    """The address names a wheel, or a source to be compiled, of that distribution and version."""
    try:
        name, version = (wheel_name if isinstance(step, Install) else parse_sdist_filename)(address.name)[:2]
    except ValueError as error:  # InvalidSdistFilename is one
        message = f"{path}.url: {address.shown} names no {'wheel' if isinstance(step, Install) else 'source'}"
        raise BadInput(message, evidence=(str(error),)) from error
    if name != step.name or (step.version is not None and version.public != step.version.public):
        message = f"{path}.url: {address.name} is not {step.name} {step.version or ''}".rstrip()
        raise BadInput(message)


class _Genuine:
    """The files that the doctor's facts know, by address: what is said of one of them is compared, not believed."""

    def __init__(self, wheels: Callable[[], Iterable[Wheel]]) -> None:
        self._load = wheels
        self._known: dict[tuple[str, str], Wheel] | None = None

    def vouched(self, step: File, path: str) -> File:
        """The step with the word of whoever vouches for its hash."""
        wheel = self._wheel(step.url or "")
        if wheel is None or wheel.sha256 is None:
            return replace(step, hash_state=HashState.CLAIMED if step.sha256 else HashState.FIRST_SEEN)
        if step.sha256 not in (None, wheel.sha256):
            message = f"{path}.sha256: it is another file than the doctor's facts know at that address"
            evidence = (f"{public(wheel.url or '')}: sha256 {wheel.sha256}", f"the plan says: sha256 {step.sha256}")
            advice = "Do not use this plan: somebody exchanged the file, in the plan or at its publisher."
            raise BadInput(message, evidence=evidence, advice=advice)
        return replace(step, sha256=wheel.sha256, size=wheel.size or step.size, hash_state=wheel.hash_state)

    def _wheel(self, url: str) -> Wheel | None:
        if self._known is None:
            self._known = {_key(parse(wheel.url)): wheel for wheel in self._load() if wheel.url}
        return self._known.get(_key(parse(url)))


def _key(address: Address) -> tuple[str, str]:
    """One key for all the ways of quoting an address."""
    return address.server, unquote(address.path)
