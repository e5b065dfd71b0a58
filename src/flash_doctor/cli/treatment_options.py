"""Options of the commands that change an environment."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from flash_doctor.treat.options import INSTALLERS

Installer = Enum("Installer", {name: name for name in INSTALLERS}, type=str)  # type: ignore[misc]

PlanOption = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Carry out this plan.")]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Carry out a bundle, without any network.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")]
TrustOption = Annotated[
    bool, typer.Option("--trust-first-download", help="Use files whose publisher gives no hash, and pin them.")
]
InstallerOption = Annotated[Installer | None, typer.Option("--installer", help="What unpacks wheels.")]
SystemOption = Annotated[bool, typer.Option("--system", help="Treat a Python that the system manages, too.")]
NoVerifyOption = Annotated[bool, typer.Option("--no-verify", help="Do not run what was installed.")]
ImportOnlyOption = Annotated[bool, typer.Option("--import-only", help="Import it, but run no kernel.")]
RequireKernelOption = Annotated[
    bool, typer.Option("--require-kernel", help="Restore unless a kernel was proved on a GPU.")
]
DeviceOption = Annotated[str, typer.Option("--device", hidden=True)]
