"""`flash-doctor preflight`: a training configuration against machine, stack and data, before the run."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.errors import emit, exit_code
from flash_doctor.cli.options import FailOn
from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, Environment, Report, Severity, Target, Unknown
from flash_doctor.system.commands import addressed
from flash_doctor.system.paths import program

if TYPE_CHECKING:
    from flash_doctor.facts import Facts
    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.preflight.collect import Asked, Machine
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.judge import PreflightJudgement
    from flash_doctor.system.redact import Redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPlace:
    """Where the run is to be judged: an environment here, a machine in a report, or facts in a file."""

    python: str | None
    recorded: Path | None
    given: Path | None


def command(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="The training file: axolotl, Hugging Face, TRL.")
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", metavar="PYTHON|VENV", help="The environment that will train.")
    ] = None,
    machine: Annotated[
        Path | None, typer.Option("--for", metavar="REPORT", help="The machine in a report of check --json.")
    ] = None,
    given: Annotated[
        Path | None, typer.Option("--facts", metavar="FILE", help="Facts as JSON, in place of looking here.")
    ] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", metavar="N", min=1, help="GPUs that train together.")] = None,
    data_sample: Annotated[
        int, typer.Option("--data-sample", metavar="N", min=0, help="First rows to parse; 0: all.")
    ] = 1000,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", metavar="DIR", help="A finished adapter that is to be merged.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 6 if anything could not be checked.")] = False,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="What ends in exit code 1.")] = FailOn.ERROR,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> int:
    """Say what would go wrong in a training run, before it starts.

    Reads the configuration, samples its data, and compares both with the machine and the environment: files,
    keys, attention backend, data format, memory and disk. Nothing is changed, imported or downloaded.
    """
    place = JudgedPlace(python=python, recorded=machine, given=given)
    report = judged(config, place, gpus=gpus, sample=data_sample, adapter=adapter)
    report = replace(report, findings=addressed(report.findings, python, program(os.environ)))
    code = exit_code(report, strict=strict, fail_on=Severity(fail_on.value))
    emit(_json(report, code) if as_json else _text(report, config or adapter or Path()))
    return code


def judged(config: Path | None, place: JudgedPlace, *, gpus: int | None, sample: int, adapter: Path | None) -> Report:
    """The report on a configuration, or on a finished adapter alone.

    Raises:
        BadInput: neither is named, or one cannot be read.
    """
    from flash_doctor.facts import Facts

    facts = Facts()
    if config is not None:
        return _of_config(config, place, _asked(gpus, sample, adapter), facts)
    if adapter is None:
        message = "name a training configuration, or --adapter DIR"
        raise BadInput(message, advice="`flash-doctor preflight CONFIG.yaml`")
    return _of_adapter(adapter, facts.preflight)


def _asked(gpus: int | None, sample: int, adapter: Path | None) -> Asked:
    from flash_doctor.preflight.collect import Asked
    from flash_doctor.preflight.gather.model import read_adapter

    return Asked(gpus=gpus, sample=sample, trained=read_adapter(adapter) if adapter else Absent())


def _of_adapter(folder: Path, facts: PreflightFacts) -> Report:
    from flash_doctor.preflight.gather.model import read_adapter
    from flash_doctor.preflight.judge import of_adapter
    from flash_doctor.preflight.registry import need

    return _report(of_adapter(need(read_adapter(folder)), facts), None, _nothing("only an adapter was looked at"))


def _of_config(config: Path, place: JudgedPlace, asked: Asked, facts: Facts) -> Report:
    from flash_doctor.preflight.collect import from_facts, from_machine
    from flash_doctor.preflight.document import Malformed, read_document
    from flash_doctor.preflight.facts_file import Given
    from flash_doctor.preflight.formats import read_run
    from flash_doctor.preflight.judge import malformed, preflight

    own = facts.preflight
    document = read_document(config)
    if isinstance(document, Malformed):
        return _report(malformed(document, own), None, _nothing("the configuration cannot be read"))
    run = read_run(document)
    if place.given:
        scene = from_facts(run, Given.read(place.given), own, asked)
        return _report(preflight(scene, own), None, _nothing(f"given with --facts {place.given.name}"))
    report = _examined(place, facts)
    scene = from_machine(run, _machine(run, report, place.recorded is None, asked), own, asked)
    return _report(preflight(scene, own), report.target, report.environment)


def _examined(place: JudgedPlace, facts: Facts) -> Report:
    """What `check` says of the environment here, or of the machine in a report."""
    from flash_doctor.diagnose import diagnose

    if place.recorded:
        from flash_doctor.cli.errors import read_file
        from flash_doctor.render.document import load_report

        recorded = load_report(read_file(place.recorded))
        return diagnose(recorded.target, recorded.environment, facts, program=program(os.environ))
    from flash_doctor.probe import probe
    from flash_doctor.probe.target import find_target
    from flash_doctor.system.process import EndingRunner

    target = find_target(place.python, os.environ)
    with EndingRunner() as runner:
        environment = probe(target, runner)
    _note_unfinished(environment)
    return diagnose(target, environment, facts, program=program(os.environ))


def _note_unfinished(environment: Environment) -> None:
    """What is judged is neither an old state nor a new one."""
    from flash_doctor.cli.terminal import TerminalDesk
    from flash_doctor.install.target_state import note_unfinished

    note_unfinished(environment, TerminalDesk(yes=True, as_json=True))


def _machine(run: Run, report: Report, here: bool, asked: Asked) -> Machine:
    from flash_doctor.model import known
    from flash_doctor.preflight.collect import Machine
    from flash_doctor.preflight.inputs import at_home
    from flash_doctor.probe.volume import PendingVolume, read_mounts
    from flash_doctor.system.process import SystemRunner

    said = known(report.environment.variables) or {}
    output = asked.current / at_home(run.text("output_dir") or "model-out")
    unseen = Unknown(unknown="another machine's disk")
    return Machine(
        environment=report.environment,
        findings=report.findings,
        variables=dict(os.environ) if here else said,
        home=Path.home(),
        volume=PendingVolume(output, read_mounts(), SystemRunner()).finish() if here else unseen,
        here=here,
    )


def _nothing(why: str) -> Environment:
    """An environment of which nothing was looked at."""
    return Environment(**{each.name: Unknown(unknown=why) for each in fields(Environment)})


def _report(judgement: PreflightJudgement, target: Target | None, environment: Environment) -> Report:
    return Report(
        target=target or Target(python=Path("-"), why="no Python was looked at"),
        environment=environment,
        findings=judgement.findings,
        unchecked=judgement.unchecked,
        score=judgement.score,
    )


def _json(report: Report, code: int) -> Redacted:
    from flash_doctor.render.document import report_document, to_json

    return to_json(report_document(report, code))


def _text(report: Report, subject: Path) -> Redacted:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.preflight import preflight_lines

    return to_text(preflight_lines(report, str(subject)), sys.stdout)
