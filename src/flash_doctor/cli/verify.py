"""`flash-doctor verify`: run flash-attention's kernels and compare them with a reference."""

from __future__ import annotations

import os
import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.errors import emit
from flash_doctor.cli.plan_options import Device
from flash_doctor.cli.terminal import TerminalDesk
from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY, BadInput
from flash_doctor.facts import Facts
from flash_doctor.install.context import FixOptions, Practice
from flash_doctor.install.verify_result import ENTRIES, Examination, verify_target
from flash_doctor.model.proof import Blame, Level, Proof
from flash_doctor.probe.target import find_target
from flash_doctor.system.process import SystemRunner

if TYPE_CHECKING:
    from flash_doctor.system.redact import Redacted

Library = Enum("Library", {name: name for name in ENTRIES}, type=str)  # type: ignore[misc]


def command(
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PYTHON|VENV", help="The interpreter or virtual environment to look at."),
    ] = None,
    library: Annotated[Library | None, typer.Option("--library", help="Which one, if several are installed.")] = None,
    device: Annotated[Device, typer.Option("--device", help="cuda: every GPU that torch sees.")] = Device.CUDA,
    import_only: Annotated[bool, typer.Option("--import-only", help="Import it, but run no kernel.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="For all of it.", show_default="900")
    ] = 900.0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 6 when the machine hinders the proof.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> int:
    """Prove that flash-attention computes right on every GPU.

    Runs forward and backward passes in a process of its own and compares them with attention computed in float32;
    a crash, a hang or wrong numbers are findings. Ends with 1 when the library fails, and with 0 when only the
    machine hinders the proof (no GPU, GPU busy).
    """
    if not timeout > 0:
        message = f"--timeout is {timeout:g} seconds, in which nothing can be proved"
        raise BadInput(message)
    options = FixOptions(level=Level.IMPORT if import_only else Level.KERNEL, device=device.value, timeout=timeout)
    practice = Practice(
        runner=SystemRunner(), facts=Facts(), options=options, desk=TerminalDesk(yes=True, as_json=as_json)
    )
    target = find_target(python, os.environ)
    examination = verify_target(target, practice, library.value if library else None)
    code = _exit_code(examination.proof, strict=strict)
    if as_json:
        from flash_doctor.render.document import to_json
        from flash_doctor.render.outcome import proof_document

        emit(to_json(proof_document(examination.proof, target, examination.entry, code)))
    else:
        emit(_text(examination))
    return code


def _exit_code(proof: Proof, *, strict: bool) -> int:
    if proof.blame is Blame.LIBRARY:
        return BROKEN
    return COULD_NOT_LOOK if strict and proof.blame is Blame.MACHINE else HEALTHY


def _text(examination: Examination) -> Redacted:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.outcome import proof_lines, verdict_line

    lines = (verdict_line(examination.proof, examination.entry), *proof_lines(examination.proof))
    return to_text(lines, sys.stdout)
