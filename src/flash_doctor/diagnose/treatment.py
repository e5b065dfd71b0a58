"""P: what our own treatments left behind."""

from __future__ import annotations

from collections.abc import Iterator

from flash_doctor.diagnose.registry import check
from flash_doctor.model import Family, Finding, Packages, Severity
from flash_doctor.system.commands import advice, command


@check("P409", Family.PYTHON)
def unfinished_fix(packages: Packages) -> Iterator[Finding]:
    """A fix was cut off half way.

    `flash-doctor fix` was killed, or the machine went down, while it exchanged files; old and new ones may lie side by
    side. Nothing is lost: its journal lists every file that it touched, and the old ones are kept beside it. (While a
    fix is running, this is told too; then wait for its end.)

    Check by hand: the named folder holds `journal.json` and no file `done`.

    What to do: `flash-doctor rollback --unfinished` brings back the state before that fix; the next `flash-doctor fix`
    does so by itself.
    """
    for folder in packages.unfinished:
        yield Finding(
            code="P409",
            severity=Severity.ERROR,
            subject="environment",
            summary="a fix was cut off half way, and the environment is neither the old one nor the new one",
            evidence=(f"an unfinished journal: {folder / 'journal.json'}",),
            remedy=advice("Bring back the state before it.", command("flash-doctor rollback --unfinished")),
        )
