"""The exit code of a report: one pure reading of it, the same for text and JSON."""

from __future__ import annotations

from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY
from flash_doctor.model import Report, Severity, Verdict

_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def exit_code(report: Report, *, strict: bool = False, fail_on: Severity = Severity.ERROR) -> int:
    """BROKEN for a finding as severe as `fail_on`; COULD_NOT_LOOK where nothing, or with `strict` not all, was checked.

    A report in which nothing could be checked is never healthy, strict or not.
    """
    if any(_RANK[finding.severity] >= _RANK[fail_on] for finding in report.findings):
        return BROKEN
    blind = report.verdict is Verdict.UNKNOWN or (strict and report.unchecked)
    return COULD_NOT_LOOK if blind else HEALTHY
