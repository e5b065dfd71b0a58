"""`flash-doctor check`: read the machine and the target, and say what is wrong."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.cli.boundary import emit, read_file, write_file
from flash_doctor.cli.options import (
    DeepOption,
    FailOn,
    FailOnOption,
    HostOnlyOption,
    JsonOption,
    OutputOption,
    PythonOption,
    ReportOption,
    RequirementsOption,
    StackOption,
    StrictOption,
)
from flash_doctor.command import EndingRunner, Meanwhile
from flash_doctor.model import Target
from flash_doctor.probe import probe
from flash_doctor.system.paths import program
from flash_doctor.target import find_target

if TYPE_CHECKING:
    from flash_doctor.facts import Facts
    from flash_doctor.model import Environment, Report
    from flash_doctor.system.redact import Redacted

_NO_PYTHON = "it runs flash-doctor; with --host-only no Python is looked at"


def command(
    python: PythonOption = None,
    deep: DeepOption = False,
    host_only: HostOnlyOption = False,
    requirements: RequirementsOption = None,
    stack: StackOption = None,
    recorded: ReportOption = None,
    strict: StrictOption = False,
    fail_on: FailOnOption = FailOn.ERROR,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> int:
    """Say what is wrong here, and what to do.

    Reads the machine and one Python environment, and shows the evidence for all it says.
    Nothing is changed, nothing is imported from the environment, and no network is used.
    """
    report = (
        judge_again(recorded, stack)
        if recorded
        else examine(python, deep=deep, host_only=host_only, requirements=requirements, text=not as_json, stack=stack)
    )
    from flash_doctor.cli.exit_code import exit_code
    from flash_doctor.model import Severity

    code = exit_code(report, strict=strict, fail_on=Severity(fail_on.value))
    if as_json or output:
        _documents(report, code, as_json=as_json, output=output)
    if not as_json:
        emit(_text(report))
    return code


def examine(
    python: str | None, *, deep: bool, host_only: bool, requirements: Path | None, text: bool, stack: str | None = None
) -> Report:
    """Probe and diagnose; what comes after the probe is imported and read while it waits for its children."""
    from flash_doctor.facts import Facts

    facts = Facts()
    # the machine can be looked at where no Python can: a stale VIRTUAL_ENV does not matter then
    bare = host_only and python is None
    target = Target(python=Path(sys.executable), why=_NO_PYTHON) if bare else find_target(python, os.environ)
    with EndingRunner() as children:
        runner = Meanwhile(children, partial(_prepare, facts, text))
        environment = probe(target, runner, deep=deep, requirements=requirements, host_only=host_only)

    from flash_doctor.diagnose import diagnose

    environment = _compared(environment, stack, facts)
    return diagnose(target, environment, facts, host_only=host_only, program=program(os.environ))


def _compared(environment: Environment, stack: str | None, facts: Facts) -> Environment:
    """The environment, to be compared with a stack where one is named."""
    if stack is None:
        return environment
    from flash_doctor.diagnose.stack import with_stack
    from flash_doctor.facts.stacks import find

    return with_stack(environment, find(facts.stacks, stack), facts.folder / "stacks")


def judge_again(file: Path, stack: str | None = None) -> Report:
    """The report of another machine, judged by this doctor's rules and facts, which may be newer.

    Raises:
        BadInput: the file cannot be read, or is no report.
    """
    from flash_doctor.diagnose import diagnose
    from flash_doctor.facts import Facts
    from flash_doctor.render.document import load_report

    recorded = load_report(read_file(file))
    facts = Facts()
    return diagnose(recorded.target, _compared(recorded.environment, stack, facts), facts, program=program(os.environ))


def _prepare(facts: Facts, text: bool) -> None:
    """What diagnosing and printing need, 70 ms of imports and of reading facts."""
    from flash_doctor.diagnose import load_rules

    load_rules()
    for part in ("drivers", "gpus", "torch", "companions", "quirks"):
        getattr(facts, part)
    if text:
        import flash_doctor.render.console
        import flash_doctor.render.text  # noqa: F401 imported early


def _documents(report: Report, code: int, *, as_json: bool, output: Path | None) -> None:
    from flash_doctor.render.document import report_document, to_json

    document = to_json(report_document(report, code))
    if output:
        write_file(output, document)
    if as_json:
        emit(document)


def _text(report: Report) -> Redacted:
    from flash_doctor.diagnose.registry import all_checks
    from flash_doctor.render.console import to_text
    from flash_doctor.render.text import report_lines

    families = {check.code: check.family for check in all_checks()}
    return to_text(report_lines(report, families), sys.stdout)
