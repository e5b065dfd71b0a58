"""`flash-doctor check`: read the machine and the target, and say what is wrong."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.cli.errors import emit, read_file, write_file
from flash_doctor.cli.meanwhile import Meanwhile
from flash_doctor.cli.options import (
    DeepOption,
    FailOn,
    FailOnOption,
    HostOnlyOption,
    JsonOption,
    OnlyOption,
    OutputOption,
    PythonOption,
    ReportOption,
    RequirementsOption,
    StackOption,
    StrictOption,
)
from flash_doctor.errors import BadInput
from flash_doctor.model import Environment, Family, Target
from flash_doctor.probe import probe
from flash_doctor.probe.target import find_target
from flash_doctor.system.paths import program
from flash_doctor.system.process import EndingRunner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.facts import Facts
    from flash_doctor.model import Report
    from flash_doctor.system.redact import Redacted

_NO_PYTHON = "it runs flash-doctor; with --host-only no Python is looked at"


def command(
    python: PythonOption = None,
    deep: DeepOption = False,
    host_only: HostOnlyOption = False,
    only: OnlyOption = None,
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
    wanted = CheckRequest(deep=deep, host_only=host_only, only=families(only), requirements=requirements, stack=stack)
    _refuse_what_nothing_reads(wanted)
    report = judge_again(recorded, wanted) if recorded else examine(python, wanted, text=not as_json)
    from flash_doctor.cli.errors import exit_code
    from flash_doctor.model import Severity

    code = exit_code(report, strict=strict, fail_on=Severity(fail_on.value))
    if as_json or output:
        _documents(report, code, as_json=as_json, output=output)
    if not as_json:
        emit(_text(report))
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """What is asked of a check, beside where it looks."""

    deep: bool = False
    host_only: bool = False
    only: tuple[Family, ...] = ()
    requirements: Path | None = None
    stack: str | None = None


def families(lists: Sequence[str] | None) -> tuple[Family, ...]:
    """The families that `--only` names, in their own order; empty where it was not given.

    Raises:
        BadInput: a name that is no family, or no name at all.
    """
    if lists is None:
        return ()
    known = {_plain(family.value): family for family in Family}
    names = {_plain(name): name.strip() for text in lists for name in text.split(",") if name.strip()}
    unknown = [given for name, given in names.items() if name not in known]
    if unknown or not names:
        wrong = f"{', '.join(map(repr, unknown))} is no family of checks" if unknown else "no family is named"
        message = f"--only: {wrong}"
        raise BadInput(message, advice=f"the families are {', '.join(known)}")
    return tuple(family for name, family in known.items() if name in names)


def _plain(name: str) -> str:
    return "-".join(re.split(r"[\s_-]+", name.strip().casefold()))


def examine(python: str | None, wanted: CheckRequest, *, text: bool) -> Report:
    """Probe and diagnose; what comes after the probe is imported and read while it waits for its children."""
    from flash_doctor.facts import Facts

    facts = Facts()
    left_out = _left_out(wanted)
    # the machine can be looked at where no Python can: a stale VIRTUAL_ENV does not matter then
    bare = wanted.host_only and python is None
    target = Target(python=Path(sys.executable), why=_NO_PYTHON) if bare else find_target(python, os.environ)
    with EndingRunner() as children:
        runner = Meanwhile(children, partial(_prepare, facts, text))
        environment = probe(
            target,
            runner,
            deep=wanted.deep,
            requirements=wanted.requirements,
            host_only=wanted.host_only,
            left_out=left_out,
        )

    return _judged(target, environment, facts, wanted)


def _refuse_what_nothing_reads(wanted: CheckRequest) -> None:
    """A requirements file or a stack that no check of the families in `--only` compares.

    Raises:
        BadInput: that.
    """
    given = "--requirements" if wanted.requirements else "--stack" if wanted.stack else ""
    if given and wanted.only and Family.COMPANIONS not in wanted.only:
        message = f"{given} is compared by the checks of {Family.COMPANIONS.value}, which --only leaves out"
        raise BadInput(message, advice=f"add {Family.COMPANIONS.value} to --only, or leave {given} out")


def _left_out(wanted: CheckRequest) -> dict[str, str]:
    """The parts that no check of the families in `--only` reads, and why they are not looked at."""
    if not wanted.only:
        return {}
    from flash_doctor.diagnose import chosen_checks, parts_read

    read = parts_read(chosen_checks(only=wanted.only, host_only=wanted.host_only))
    why = f"not looked at: --only {','.join(_plain(family.value) for family in wanted.only)}"
    return {field.name: why for field in fields(Environment) if field.name not in read}


def _judged(target: Target, environment: Environment, facts: Facts, wanted: CheckRequest) -> Report:
    from flash_doctor.diagnose import diagnose

    compared = _compared(environment, wanted.stack, facts)
    how = program(os.environ)
    return diagnose(target, compared, facts, host_only=wanted.host_only, only=wanted.only, program=how)


def _compared(environment: Environment, stack: str | None, facts: Facts) -> Environment:
    """The environment, to be compared with a stack where one is named."""
    if stack is None:
        return environment
    from flash_doctor.diagnose.requirements import with_stack
    from flash_doctor.facts.stacks import find

    return with_stack(environment, find(facts.stacks, stack), facts.folder / "stacks")


def judge_again(file: Path, wanted: CheckRequest) -> Report:
    """The report of another machine, judged by this doctor's rules and facts, which may be newer.

    A report of some families is judged in those again, unless others are asked for.

    Raises:
        BadInput: the file cannot be read, or is no report.
    """
    from flash_doctor.facts import Facts
    from flash_doctor.render.document import load_report

    recorded = load_report(read_file(file))
    return _judged(recorded.target, recorded.environment, Facts(), replace(wanted, only=wanted.only or recorded.only))


def _prepare(facts: Facts, text: bool) -> None:
    """What diagnosing and printing need, 70 ms of imports and of reading facts."""
    from flash_doctor.diagnose import load_rules

    load_rules()
    for part in ("drivers", "gpus", "torch", "companions", "publishers", "quirks"):
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
