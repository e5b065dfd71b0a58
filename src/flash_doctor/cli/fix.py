"""`flash-doctor fix`: carry out a plan so that nothing can be lost, and prove it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from flash_doctor.cli.choose_plan import for_goal
from flash_doctor.cli.errors import emit
from flash_doctor.cli.machines import known_wheels
from flash_doctor.cli.options import JsonOption, PythonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.cli.plan_options import (
    AllowOption,
    BundleOption,
    Device,
    DeviceOption,
    DryRunOption,
    ImportOnlyOption,
    InstallerOption,
    KeepOption,
    NoVerifyOption,
    OfflineOption,
    PlanOption,
    RequireKernelOption,
    SystemOption,
    TrustOption,
    WantOption,
    WheelhouseOption,
    YesOption,
)
from flash_doctor.cli.terminal import TerminalDesk
from flash_doctor.errors import HEALTHY, VERIFICATION_FAILED, BadInput
from flash_doctor.facts import Facts
from flash_doctor.install.choose_plan import AsPlanned
from flash_doctor.install.context import FixOptions, Practice, default_sources
from flash_doctor.install.fix import fix, show
from flash_doctor.install.plan_file import NAME, at_hand, read_plan
from flash_doctor.model.outcome import State
from flash_doctor.model.proof import Level
from flash_doctor.probe.target import find_target
from flash_doctor.system.paths import program
from flash_doctor.system.process import SystemRunner

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.model.outcome import Outcome
    from flash_doctor.system.redact import Redacted


def command(
    python: PythonOption = None,
    want: WantOption = None,
    keep: KeepOption = None,
    allow: AllowOption = None,
    plan: PlanOption = None,
    bundle: BundleOption = None,
    wheelhouse: WheelhouseOption = None,
    offline: OfflineOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    trust_first_download: TrustOption = False,
    installer: InstallerOption = None,
    system: SystemOption = False,
    no_verify: NoVerifyOption = False,
    import_only: ImportOnlyOption = False,
    require_kernel: RequireKernelOption = False,
    device: DeviceOption = Device.CUDA,
    as_json: JsonOption = False,
) -> int:
    """Make flash-attention work and prove it, or change nothing.

    Shows what would change, and asks. Unpacks beside the environment, judges the binaries there, swaps them in by
    renaming, and runs them. What fails is undone to the last byte; what works can be undone with rollback.
    """
    folder = bundle or wheelhouse
    options = FixOptions(
        installer=installer.value if installer else "",
        system=system,
        level=_level(no_verify=no_verify, import_only=import_only, require_kernel=require_kernel),
        require_kernel=require_kernel,
        first_seen=True if trust_first_download else False if yes else None,
        device=device.value,
        sources=default_sources((folder,) if folder else (), network=not (offline or bundle)),
    )
    goal = for_goal(want, keep, allow, wheelhouse=wheelhouse, offline=offline)
    desk = TerminalDesk(yes=yes, as_json=as_json)
    practice = Practice(runner=SystemRunner(), facts=Facts(), options=options, desk=desk, lookup=goal.lookup)
    treat, chosen = show if dry_run else fix, _ready(plan, bundle, practice) or goal
    return _told(treat(find_target(python, os.environ), chosen, practice), as_json=as_json)


def _ready(plan: Path | None, bundle: Path | None, practice: Practice) -> AsPlanned | None:
    """The plan that was given, if one was."""
    path = bundle / NAME if bundle else plan
    if path is None:
        return None
    ready = read_plan(path, lambda: known_wheels(practice.facts).wheels)
    return AsPlanned(ready=at_hand(ready, practice.options.sources))


def _told(outcome: Outcome, *, as_json: bool) -> int:
    code = VERIFICATION_FAILED if outcome.state is State.RESTORED else HEALTHY
    emit(_json(outcome, code) if as_json else _text(outcome))
    return code


def _level(*, no_verify: bool, import_only: bool, require_kernel: bool) -> Level:
    """How far the proof is to go."""
    if (no_verify or import_only) and require_kernel:
        message = "--require-kernel excludes --no-verify and --import-only"
        raise BadInput(message)
    return Level.STATIC if no_verify else Level.IMPORT if import_only else Level.KERNEL


def _json(outcome: Outcome, code: int) -> Redacted:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.outcome import outcome_document

    return to_json(outcome_document(outcome, code))


def _text(outcome: Outcome) -> Redacted:
    """The sheet was shown when it was agreed to; a dry run shows it here."""
    from flash_doctor.render.console import to_text
    from flash_doctor.render.outcome import outcome_lines, sheet_lines

    shown = sheet_lines(outcome.sheet) if outcome.state is State.SHOWN else ()
    return to_text((*shown, *outcome_lines(outcome, program(os.environ))), sys.stdout)
