"""`flash-doctor bundle`: a plan and all its files in one folder, for a machine without network."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.boundary import emit, read_file, write_file
from flash_doctor.cli.desk import TerminalDesk
from flash_doctor.cli.options import JsonOption, PythonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.cli.plan_options import (  # noqa: TC001
    AllowOption,
    KeepOption,
    RecordedOption,
    WantOption,
    WheelhouseOption,
)
from flash_doctor.cli.prescription import for_goal
from flash_doctor.cli.treatment_options import PlanOption, TrustOption  # noqa: TC001
from flash_doctor.command import SystemRunner
from flash_doctor.errors import HEALTHY
from flash_doctor.facts import Facts
from flash_doctor.model.plan import Build
from flash_doctor.target import find_target
from flash_doctor.treat.bundle import bundle, fetch_needs
from flash_doctor.treat.options import Options, default_sources
from flash_doctor.treat.patient import Patient, examine, patient_of
from flash_doctor.treat.plan_file import NAME, read_plan

if TYPE_CHECKING:
    from flash_doctor.command import Runner
    from flash_doctor.model.plan import Plan
    from flash_doctor.treat.bundle import Bundle


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
    options = Options(
        first_seen=trust_first_download, sources=default_sources((wheelhouse,) if wheelhouse else (), network=True)
    )
    patient = None if plan else _patient(python, recorded, runner)
    chosen = for_goal(want, keep, allow, wheelhouse=wheelhouse)
    ready = read_plan(plan) if plan else chosen.plan(patient, facts) if patient else None
    assert ready is not None
    made = bundle(ready, folder, options, TerminalDesk(yes=True, as_json=as_json))
    needs = [need for step in made.plan.steps if isinstance(step, Build) for need in facts.flash.build_needs(step.name)]
    if needs:
        fetch_needs(folder, needs, patient.python if patient else None, runner)
    write_file(folder / NAME, _document(made.plan))
    emit(_document(made.plan) if as_json else _text(made, folder))
    return HEALTHY


def _patient(python: str | None, recorded: Path | None, runner: Runner) -> Patient:
    """The machine at hand, or the one that a report describes."""
    if recorded is None:
        return examine(find_target(python, os.environ), runner)
    from flash_doctor.render.document import load_report

    report = load_report(read_file(recorded))
    return patient_of(report.target, report.environment)


def _document(plan: Plan) -> str:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.prescription import plan_document

    return to_json(plan_document(plan))


def _text(made: Bundle, folder: Path) -> str:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.outcome import bundle_lines

    return to_text(bundle_lines(made.files, made.size, folder), sys.stdout)
