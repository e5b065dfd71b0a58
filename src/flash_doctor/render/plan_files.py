"""A plan as a file that other tools take: requirements with hashes, a lock file (PEP 751), a shell script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flash_doctor.errors import NoPlanFound
from flash_doctor.model.plan import Build, Install, NoPlan, Plan, Remove
from flash_doctor.render.plan_script import script_lines
from flash_doctor.render.text import clean
from flash_doctor.system.claims import is_sha256
from flash_doctor.system.commands import command, comment, in_sentence
from flash_doctor.system.requirement import parse as parse_requirement, valid_name
from flash_doctor.system.url import file_name, parse as parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flash_doctor.model.plan import Consultation, Step


_NOT_PUBLISHED = "none is published; compare a copy that you trust, and add --hash=sha256:HASH"
_NOT_CHOSEN = "the index chooses the file; plan again without --offline to have it fixed"


def _plan(consultation: Consultation) -> Plan:
    """The plan that is to be written.

    Raises:
        NoPlanFound: there is none.
    """
    answer = consultation.answer
    if isinstance(answer, NoPlan):
        ways = [way.change[0] for way in answer.alternatives]
        evidence = (*answer.because, *(f"another way: {text}" for text in ways[:5]))
        message = "there is no plan"
        raise NoPlanFound(message, evidence=evidence, advice=answer.command or "the same without --format")
    return answer


def _head(consultation: Consultation, plan: Plan) -> Iterator[str]:
    knowledge = consultation.knowledge
    yield f"flash-doctor's plan for {consultation.machine}"
    yield f"facts of {knowledge.newest}"
    yield from plan.because
    yield from (f"by hand, first: {text}" for text in plan.manual)
    yield from consultation.notes


def _comments(lines: Iterator[str]) -> Iterator[str]:
    return (f"# {clean(line)}" for line in lines)


def requirements(consultation: Consultation) -> str:
    """Lines for `pip install --no-deps -r` in pip's hash mode, which refuses the whole file while a line has no hash.

    Raises:
        NoPlanFound: there is no plan.
    """
    plan = _plan(consultation)
    steps = [step for step in plan.steps if not isinstance(step, Remove)]
    indexes = dict.fromkeys(url for step in steps if isinstance(step, Install) and not step.url for url in step.indexes)
    lines = [*_comments(_head(consultation, plan)), "# pip install --no-deps -r THIS_FILE", "--require-hashes"]
    lines += [f"--extra-index-url {_in_file(url)}" for url in indexes]
    for step in plan.steps:
        lines += ["", *_comments(iter((step.because,))), *_requirement(step)]
    return "\n".join(lines) + "\n"


def _requirement(step: Step) -> Iterator[str]:
    if isinstance(step, Remove):
        yield comment(f"by hand: {in_sentence(command('pip uninstall {}', valid_name(step.name)))}")
        return
    if isinstance(step, Build):
        settings = [f"{name}={value}" for name, value in step.settings]
        variables = in_sentence(command("env {}", settings))
        yield comment(f"built from source, with --no-build-isolation and these variables: {variables}")
    asked = f"{step.name} @ {_in_file(step.url)}" if step.url else parse_requirement(step.requirement).bare
    if step.url and step.sha256 and is_sha256(step.sha256):
        yield f"{asked} --hash=sha256:{step.sha256}"
        return
    yield "# NO HASH, so pip refuses this file: " + (_NOT_PUBLISHED if step.url else _NOT_CHOSEN)
    yield asked


def _in_file(url: str) -> str:
    """An address for a requirements file, in which pip would put the value of a variable in place of ${NAME}."""
    return parse_address(url).opened.replace("$", "%24")


def pylock(consultation: Consultation) -> str:
    """A lock file for uv and pip.

    Raises:
        NoPlanFound: a step has no address or no sha256, which a lock file must give.
    """
    from packaging.pylock import Package, PackageWheel, Pylock
    from packaging.version import Version

    plan = _plan(consultation)
    packages = []
    for step in plan.steps:
        if not isinstance(step, Install) or not step.url or not step.sha256 or step.version is None:
            raise _not_lockable(plan)
        wheel = PackageWheel(name=_file(step), url=step.url, size=step.size, hashes={"sha256": step.sha256})
        packages.append(Package(name=step.name, version=step.version, wheels=[wheel]))
    lock = Pylock(lock_version=Version("1.0"), created_by="flash-doctor", packages=packages)
    lock.validate()
    return _toml(lock.to_dict(), _comments(_head(consultation, plan)))


def _not_lockable(plan: Plan) -> NoPlanFound:
    open_steps = [step for step in plan.steps if not (isinstance(step, Install) and step.url and step.sha256)]
    message = "a lock file names the address and the sha256 of every file, and these steps have not both"
    advice = "Leave out --offline so that the index is asked, or take --format requirements, which marks them."
    return NoPlanFound(message, evidence=[f"{step.name}: {step.because}" for step in open_steps], advice=advice)


def _file(step: Install) -> str:
    assert step.url is not None
    return file_name(step.url)


def _toml(table: Mapping[str, Any], comments: Iterator[str]) -> str:
    """The few shapes of a lock file: values, then one table for each package with its wheels inline."""
    lines = [*comments]
    lines += [f"{key} = {_value(value)}" for key, value in table.items() if key != "packages"]
    for package in table["packages"]:
        lines += ["", "[[packages]]", *(f"{key} = {_value(value)}" for key, value in package.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    import json

    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value) if isinstance(value, (str, int, bool)) else json.dumps(str(value))


def script(consultation: Consultation) -> str:
    """A shell script that does the plan with pip.

    Raises:
        NoPlanFound: there is none, or it has words that cannot be written into a script.
    """
    plan = _plan(consultation)
    lines = ["#!/bin/sh", *_comments(_head(consultation, plan)), *script_lines(plan.steps)]
    return "\n".join(lines) + "\n"


WRITERS: dict[str, Callable[[Consultation], str]] = {
    "requirements": requirements,
    "pylock": pylock,
    "script": script,
}
