"""`flash-doctor bundle`: a plan and all its files in one folder, for a machine without network."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.choose_plan import for_goal
from flash_doctor.cli.errors import emit, read_file, write_file
from flash_doctor.cli.machines import known_wheels
from flash_doctor.cli.options import JsonOption, PythonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.cli.plan_options import (  # noqa: TC001 as above
    AllowOption,
    KeepOption,
    PlanOption,
    RecordedOption,
    TrustOption,
    WantOption,
    WheelhouseOption,
)
from flash_doctor.cli.terminal import TerminalDesk
from flash_doctor.errors import HEALTHY, BadInput
from flash_doctor.facts import Facts
from flash_doctor.install.build_step import settle_builds
from flash_doctor.install.bundle import bundle
from flash_doctor.install.context import FixOptions, Practice, default_sources
from flash_doctor.install.plan_file import NAME, read_plan
from flash_doctor.install.target_state import TargetState, examine, note_unfinished, patient_of
from flash_doctor.model.plan import Build
from flash_doctor.probe.target import find_target
from flash_doctor.system.paths import program
from flash_doctor.system.process import SystemRunner

if TYPE_CHECKING:
    from flash_doctor.install.bundle import Bundle
    from flash_doctor.install.choose_plan import ForGoal
    from flash_doctor.model.plan import Plan
    from flash_doctor.system.process import Runner
    from flash_doctor.system.redact import Redacted


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that is filled.")],
    python: PythonOption = None,
    recorded: RecordedOption = None,
    want: WantOption = None,
    keep: KeepOption = None,
    allow: AllowOption = None,
    plan: PlanOption = None,
    wheelhouse: WheelhouseOption = None,
    trust_first_download: TrustOption = False,
    as_json: JsonOption = False,
) -> int:
    """Put everything that a plan installs into one folder.

    Carry it to the machine without network, and type there: flash-doctor fix --bundle DIR
    """
    runner, facts = SystemRunner(), Facts()
    options = FixOptions(
        first_seen=trust_first_download, sources=default_sources((wheelhouse,) if wheelhouse else (), network=True)
    )
    chosen = for_goal(want, keep, allow, wheelhouse=wheelhouse)
    desk = TerminalDesk(yes=True, as_json=as_json)
    practice = Practice(runner=runner, facts=facts, options=options, desk=desk, lookup=chosen.lookup)
    practice.note_cache()
    machine = _Machine(python=python, recorded=recorded)
    made = bundle(_ready(plan, chosen, machine, practice), folder, practice)
    write_file(folder / NAME, _document(made.plan))
    emit(_document(made.plan) if as_json else _text(made, folder))
    return HEALTHY


def _ready(path: Path | None, goal: ForGoal, machine: _Machine, practice: Practice) -> Plan:
    """The plan that was given, or the goal's; with everything that its builds need."""
    if path is None:
        patient = machine.examine(practice)
        return settle_builds(goal.plan(patient, practice.facts), patient, practice)
    plan = read_plan(path, lambda: known_wheels(practice.facts).wheels)
    if all(step.needs and step.url for step in plan.steps if isinstance(step, Build)):
        return plan
    machine.demand_name()
    return settle_builds(plan, machine.examine(practice), practice)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """What the bundle is for: an interpreter here, or the one that a report describes."""

    python: str | None
    recorded: Path | None

    def demand_name(self) -> None:
        """Refuse a guess: what a build needs is chosen for the machine that compiles."""
        if self.python is None and self.recorded is None:
            message = "the plan compiles something, and what that needs depends on the machine that compiles it"
            advice = "Name it: --for REPORT.json (from `flash-doctor check --json` there), or --python"
            raise BadInput(message, advice=advice)

    def examine(self, practice: Practice) -> TargetState:
        patient = self._examine(practice.runner)
        note_unfinished(patient.environment, practice.desk)
        return patient

    def _examine(self, runner: Runner) -> TargetState:
        if self.recorded is None:
            return examine(find_target(self.python, os.environ), runner)
        from flash_doctor.render.document import load_report

        report = load_report(read_file(self.recorded))
        return patient_of(report.target, report.environment)


def _document(plan: Plan) -> Redacted:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.plan_document import plan_document

    return to_json(plan_document(plan))


def _text(made: Bundle, folder: Path) -> Redacted:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.outcome import bundle_lines

    return to_text(bundle_lines(made.files, made.size, folder, program(os.environ)), sys.stdout)
