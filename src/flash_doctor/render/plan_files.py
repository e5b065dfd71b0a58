"""A plan as a file that other tools take: requirements with hashes, a lock file (PEP 751), a shell script."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flash_doctor.errors import NoPlanFound
from flash_doctor.model.plan import Build, Install, NoPlan, Plan, Remove
from flash_doctor.render.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flash_doctor.model.consultation import Consultation
    from flash_doctor.model.plan import Step


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
    """Lines for `pip install --no-deps -r`; a step without a hash is marked, and then all go without hash mode."""
    plan = _plan(consultation)
    hashed = all(isinstance(step, Install) and step.url and step.sha256 for step in plan.steps)
    indexes = dict.fromkeys(url for step in plan.steps if isinstance(step, Install) and not step.url
                            for url in step.indexes)  # fmt: skip
    lines = [*_comments(_head(consultation, plan)), "# pip install --no-deps -r THIS_FILE", *_not_hashed(hashed)]
    lines += [f"--extra-index-url {url}" for url in indexes]
    for step in plan.steps:
        lines += ["", *_comments(iter((step.because,))), *_requirement(step, hashed=hashed)]
    return "\n".join(lines) + "\n"


def _not_hashed(hashed: bool) -> Iterator[str]:
    if not hashed:
        yield "# Not every step has a sha256 yet, so pip's hash mode cannot be used: what has none is marked below."


def _requirement(step: Step, *, hashed: bool) -> Iterator[str]:
    if isinstance(step, Remove):
        yield f"# by hand: pip uninstall {step.name}"
    elif isinstance(step, Build):
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in step.settings)
        yield f"# NO HASH: built from source, with {settings} and --no-build-isolation"
        yield step.requirement
    elif step.url is None:
        yield "# NO HASH: the index chooses the file; plan again without --offline to have it fixed"
        yield step.requirement
    elif hashed:
        yield f"{step.name} @ {step.url} --hash=sha256:{step.sha256}"
    elif step.sha256:
        yield f"{step.name} @ {step.url}#sha256={step.sha256}"
    else:
        yield "# NO HASH: none is published for this file"
        yield f"{step.name} @ {step.url}"


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
    return unquote(urlsplit(step.url).path.rpartition("/")[2])


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
    """A bash script that does the plan with pip; PYTHON names the interpreter it is for."""
    plan = _plan(consultation)
    lines = ["#!/usr/bin/env bash", *_comments(_head(consultation, plan))]
    lines += ["# Unlike `flash-doctor fix` it keeps no copy of what it replaces, and proves nothing.", ""]
    lines += ["set -euo pipefail", "", 'python="${PYTHON:-python3}"']
    if any(isinstance(step, Install) and step.url for step in plan.steps):
        lines += ['folder="$(mktemp -d)"', "trap 'rm -rf -- \"$folder\"' EXIT"]
    for number, step in enumerate(plan.steps, 1):
        lines += ["", *_comments(iter((f"{number}. {step.name}: {step.because}",))), *_commands(step)]
    return "\n".join(lines) + "\n"


def _commands(step: Step) -> Iterator[str]:
    install = '"$python" -m pip install --no-deps'
    if isinstance(step, Remove):
        yield f'"$python" -m pip uninstall --yes {step.name}'
    elif isinstance(step, Build):
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in step.settings)
        yield f"env {settings} {install} --no-build-isolation {shlex.quote(step.requirement)}"
    elif step.url is None:
        yield "# NO HASH: the index chooses the file"
        options = "".join(f" --extra-index-url {shlex.quote(url)}" for url in step.indexes)
        yield f"{install}{options} {shlex.quote(step.requirement)}"
    else:
        yield from _download(step, install)


def _download(step: Install, install: str) -> Iterator[str]:
    assert step.url is not None
    file = f'"$folder"/{shlex.quote(_file(step))}'
    yield f"curl --fail --location --retry 3 --output {file} {shlex.quote(step.url)}"
    if step.sha256:
        yield f"echo {step.sha256}'  '{file} | sha256sum --check --quiet"
    else:
        yield "# NO HASH: none is published for this file; compare what this prints with a copy that you trust"
        yield f"sha256sum {file}"
    yield f"{install} {file}"


WRITERS: dict[str, Callable[[Consultation], str]] = {
    "requirements": requirements,
    "pylock": pylock,
    "script": script,
}
