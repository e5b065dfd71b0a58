"""`flash-doctor fix`: carry out a plan so that nothing can be lost, and prove it."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path  # noqa: TC003 typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.boundary import emit
from flash_doctor.cli.desk import TerminalDesk
from flash_doctor.command import SystemRunner
from flash_doctor.errors import HEALTHY, VERIFICATION_FAILED, BadInput
from flash_doctor.facts import Facts
from flash_doctor.model import Goal
from flash_doctor.model.outcome import State
from flash_doctor.model.proof import Level
from flash_doctor.target import find_target
from flash_doctor.treat.fix import Practice, fix, show
from flash_doctor.treat.options import INSTALLERS, Options, default_sources
from flash_doctor.treat.plan_file import NAME, read_plan
from flash_doctor.treat.prescribe import AsPlanned, ForGoal

if TYPE_CHECKING:
    from flash_doctor.model.outcome import Outcome
    from flash_doctor.treat.prescribe import Prescription

Installer = Enum("Installer", {name: name for name in INSTALLERS}, type=str)  # type: ignore[misc]


def command(
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PYTHON|VENV", help="The interpreter or virtual environment to treat."),
    ] = None,
    want: Annotated[
        list[str] | None, typer.Option("--want", metavar="PACKAGE", help="What is wanted: flash-attn, torch, with ==.")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option("--keep", metavar="NAME", help="What must not change.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="CHANGE", help="torch, build, version ... as plan names them."),
    ] = None,
    plan: Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Carry out this plan.")] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="DIR", help="Carry out a bundle, without any network.")
    ] = None,
    wheelhouse: Annotated[Path | None, typer.Option("--wheelhouse", metavar="DIR", help="A folder of wheels.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use no network.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    trust_first_download: Annotated[
        bool, typer.Option("--trust-first-download", help="Use files whose publisher gives no hash, and pin them.")
    ] = False,
    installer: Annotated[Installer | None, typer.Option("--installer", help="What unpacks wheels.")] = None,
    system: Annotated[bool, typer.Option("--system", help="Treat a Python that the system manages, too.")] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not run what was installed.")] = False,
    import_only: Annotated[bool, typer.Option("--import-only", help="Import it, but run no kernel.")] = False,
    require_kernel: Annotated[
        bool, typer.Option("--require-kernel", help="Restore unless a kernel was proved on a GPU.")
    ] = False,
    device: Annotated[str, typer.Option("--device", hidden=True)] = "cuda",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> int:
    """Install what makes flash-attention work, and prove it; or leave everything as it was.

    Shows the plan and asks; unpacks beside the target, judges what was unpacked, swaps it in by renaming, runs it.
    What fails is undone to the last byte; what works can be undone with rollback.
    """
    if no_verify and require_kernel:
        message = "--no-verify and --require-kernel exclude each other"
        raise BadInput(message)
    folder = bundle or wheelhouse
    options = Options(
        installer=installer.value if installer else "",
        system=system,
        level=Level.STATIC if no_verify else Level.IMPORT if import_only else Level.KERNEL,
        require_kernel=require_kernel,
        first_seen=True if trust_first_download else False if yes else None,
        device=device,
        sources=default_sources((folder,) if folder else (), network=not (offline or bundle)),
    )
    practice = Practice(
        runner=SystemRunner(), facts=Facts(), options=options, desk=TerminalDesk(yes=yes, as_json=as_json)
    )
    goal = Goal(wanted=tuple(want or Goal().wanted), keep=tuple(keep or Goal().keep), allow=tuple(allow or ()))
    ready = bundle / NAME if bundle else plan
    prescription: Prescription = (
        AsPlanned(ready=read_plan(ready))
        if ready
        else ForGoal(goal=goal, runner=practice.runner, wheelhouse=wheelhouse, offline=offline)
    )
    treat = show if dry_run else fix
    outcome = treat(find_target(python, os.environ), prescription, practice)
    code = VERIFICATION_FAILED if outcome.state is State.RESTORED else HEALTHY
    emit(_json(outcome, code) if as_json else _text(outcome))
    return code


def _json(outcome: Outcome, code: int) -> str:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.outcome import outcome_document

    return to_json(outcome_document(outcome, code))


def _text(outcome: Outcome) -> str:
    """The sheet was shown when it was agreed to; a dry run shows it here."""
    from flash_doctor.render.console import to_text
    from flash_doctor.render.outcome import outcome_lines, sheet_lines

    shown = sheet_lines(outcome.sheet) if outcome.state is State.SHOWN else ()
    return to_text((*shown, *outcome_lines(outcome)), sys.stdout)
