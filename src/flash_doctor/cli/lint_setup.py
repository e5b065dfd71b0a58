"""`flash-doctor lint-setup DIR`: the numbering rule for a folder of setup scripts."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.errors import emit
from flash_doctor.cli.options import JsonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.errors import BROKEN, HEALTHY
from flash_doctor.preflight.setup_scripts import lint_setup
from flash_doctor.system.redact import Redacted, redact

if TYPE_CHECKING:
    from flash_doctor.model import Finding


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with 0_..., 1_... and so on.")],
    as_json: JsonOption = False,
) -> int:
    """Check the numbers of a folder of setup scripts.

    Numbers are unique and without gaps, and the README names every script in its order.
    """
    findings = lint_setup(folder)
    code = BROKEN if findings else HEALTHY
    emit(_json(findings, code) if as_json else _text(findings, folder))
    return code


def _json(findings: tuple[Finding, ...], code: int) -> Redacted:
    from flash_doctor.render.document import to_json
    from flash_doctor.system.codec import encode

    return to_json({"schema": "flash-doctor/lint-setup/1", "findings": encode(findings), "exit_code": code})


def _text(findings: tuple[Finding, ...], folder: Path) -> Redacted:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.text import clean, finding_lines

    if not findings:
        return redact(
            f"The scripts in {clean(str(folder))} are numbered without gaps, and the README names them in order.\n"
        )
    return to_text([line for finding in findings for line in finding_lines(finding)], sys.stdout)
