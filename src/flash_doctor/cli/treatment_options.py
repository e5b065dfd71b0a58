"""Options of the commands that change an environment."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from flash_doctor.treat.options import INSTALLERS

Installer = Enum("Installer", {name: name for name in INSTALLERS}, type=str)  # type: ignore[misc]

WantOption = Annotated[
    list[str] | None, typer.Option("--want", metavar="PACKAGE", help="What is wanted: flash-attn, torch, with ==.")
]
KeepOption = Annotated[list[str] | None, typer.Option("--keep", metavar="NAME", help="What must not change.")]
AllowOption = Annotated[
    list[str] | None, typer.Option("--allow", metavar="CHANGE", help="torch, build, version ... as plan names them.")
]
PlanOption = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Carry out this plan.")]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Carry out a bundle, without any network.")
]
WheelhouseOption = Annotated[Path | None, typer.Option("--wheelhouse", metavar="DIR", help="A folder of wheels.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Use no network.")]
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
