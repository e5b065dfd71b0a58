"""The wheels as commands know them: the shipped matrix under the user's overlay."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from flash_doctor.install.plan_command import PlannedMachine
from flash_doctor.resolve.sources.overlay import Known, load_known, overlay_folder
from flash_doctor.system.paths import data_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from flash_doctor.facts import Facts
    from flash_doctor.model import Environment, Family


def overlay() -> Path:
    """Where this user's refreshed facts lie."""
    return overlay_folder(data_folder(os.environ))


def known_wheels(facts: Facts) -> Known:
    """Every wheel that is known here, and how old that knowledge is."""
    return load_known(facts, overlay())


def scene_here(python: str | None, facts: Facts, meanwhile: Callable[[], object]) -> PlannedMachine:
    """This machine and the target, probed; `meanwhile` is done while the children are waited for."""
    from flash_doctor.cli.meanwhile import Meanwhile
    from flash_doctor.probe import probe
    from flash_doctor.probe.target import find_target
    from flash_doctor.system.process import EndingRunner

    target = find_target(python, os.environ)
    with EndingRunner() as runner:
        environment = probe(target, Meanwhile(runner, partial(_import_the_rest, meanwhile)))
    from flash_doctor.diagnose import diagnose

    report = diagnose(target, environment, facts)
    return PlannedMachine(
        environment=environment, machine=f"{target.python} ({target.why})", report=report, families=_families()
    )


def environment_here(python: str | None) -> Environment:
    """This machine and the target, probed and not judged."""
    from flash_doctor.probe import probe
    from flash_doctor.probe.target import find_target
    from flash_doctor.system.process import EndingRunner

    with EndingRunner() as runner:
        return probe(find_target(python, os.environ), runner)


def recorded_scene(text: str, name: str, facts: Facts) -> PlannedMachine:
    """The machine in a report, judged anew.

    Raises:
        BadInput: it is no report.
    """
    from flash_doctor.diagnose import diagnose
    from flash_doctor.render.document import load_report

    recorded = load_report(text)
    report = diagnose(recorded.target, recorded.environment, facts)
    machine = f"the machine in {name}: {_summary(recorded.environment)}"
    return PlannedMachine(environment=recorded.environment, machine=machine, report=report, families=_families())


def described_scene(words: Mapping[str, str], facts: Facts) -> PlannedMachine:
    """A machine of which only some things are said.

    Raises:
        BadInput: a word that cannot be understood.
    """
    from flash_doctor.resolve.describe import describe

    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in words.items())
    environment = describe(facts, **words)
    return PlannedMachine(environment=environment, machine=f"a described machine: {said}", families={})


def _summary(environment: Environment) -> str:
    from flash_doctor.model import known

    host, torch, python = known(environment.host), known(environment.torch), known(environment.python)
    said = (
        host.hostname if host else "",
        f"Python {python.version}" if python else "",
        f"torch {torch.version}" if torch else "",
    )
    return ", ".join(filter(None, said)) or "nothing is known about it"


def _families() -> dict[str, Family]:
    from flash_doctor.diagnose.registry import all_checks

    return {check.code: check.family for check in all_checks()}


def _import_the_rest(meanwhile: Callable[[], object]) -> None:
    from flash_doctor.diagnose import load_rules

    load_rules()
    meanwhile()
