"""One check on a node of a fleet, from the shipped copy of the doctor: no command line, no typer, no rich."""

from __future__ import annotations

import os

from flash_doctor.diagnose import diagnose
from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY, DoctorError
from flash_doctor.facts import Facts
from flash_doctor.model import Verdict
from flash_doctor.probe import probe
from flash_doctor.probe.target import find_target
from flash_doctor.render.document import error_document, report_document, to_json
from flash_doctor.system.process import EndingRunner

_CODES = {Verdict.BROKEN: BROKEN, Verdict.UNKNOWN: COULD_NOT_LOOK}


def main(python: str, *, deep: bool, host_only: bool) -> str:
    """The document that `check --json` would print here; `python` is "" for the one that check would choose."""
    try:
        target = find_target(python or None, os.environ)
        with EndingRunner() as runner:
            environment = probe(target, runner, deep=deep, host_only=host_only)
        report = diagnose(target, environment, Facts(), host_only=host_only)
    except DoctorError as error:
        return to_json(error_document(error))
    return to_json(report_document(report, _CODES.get(report.verdict, HEALTHY)))
