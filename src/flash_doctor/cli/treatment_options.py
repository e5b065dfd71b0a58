"""Options of the commands that change an environment."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from flash_doctor.treat.options import INSTALLERS

Installer = Enum("Installer", {name: name for name in INSTALLERS}, type=str)  # type: ignore[misc]


class Device(str, Enum):
    """Where kernels are run."""

    CUDA = "cuda"
    CPU = "cpu"


PlanOption = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="Use this plan, as `plan --json --output` wrote it.")
]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Install what `bundle DIR` packed, without a network.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Go ahead without asking.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-first-download",
        help="Use a file that nobody publishes a hash for, and hold its address to the hash from then on.",
    ),
]
InstallerOption = Annotated[
    Installer | None, typer.Option("--installer", help="What unpacks wheels (uv where it is there, else pip).")
]
SystemOption = Annotated[bool, typer.Option("--system", help="Change a Python that the system manages, too.")]
NoVerifyOption = Annotated[bool, typer.Option("--no-verify", help="Do not run what was installed.")]
ImportOnlyOption = Annotated[bool, typer.Option("--import-only", help="Import it, but run no kernel.")]
RequireKernelOption = Annotated[
    bool, typer.Option("--require-kernel", help="Put the old files back unless a kernel was proved on a GPU.")
]
DeviceOption = Annotated[Device, typer.Option("--device", hidden=True)]
