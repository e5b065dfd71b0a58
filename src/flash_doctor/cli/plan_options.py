"""The options of `plan`, each said once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from flash_doctor.install.context import INSTALLERS


class Format(str, Enum):
    """How the plan is written."""

    TABLE = "table"
    JSON = "json"
    REQUIREMENTS = "requirements"
    PYLOCK = "pylock"
    SCRIPT = "script"


def _described(name: str, example: str) -> typer.models.OptionInfo:
    """One part of a machine that is described in words instead of looked at."""
    option: typer.models.OptionInfo = typer.Option(name, metavar="…", help=f"Plan for a described machine: {example}.")
    return option


RecordedOption = Annotated[
    Path | None, typer.Option("--for", metavar="REPORT", help="Plan for the machine in a report (check --json).")
]
GpuOption = Annotated[str | None, _described("--gpu", "H100x8, or sm_90, or none")]
DriverOption = Annotated[str | None, _described("--driver", "570.86")]
TorchOption = Annotated[str | None, _described("--torch", "2.8.0+cu128, or none")]
PythonVersionOption = Annotated[str | None, _described("--python-version", "3.12")]
GlibcOption = Annotated[str | None, _described("--glibc", "2.35")]
MachineOption = Annotated[str | None, _described("--machine", "x86_64 or aarch64")]
WantOption = Annotated[
    list[str] | None,
    typer.Option(
        "--want",
        metavar="PACKAGE",
        help="What to install: flash-attn (if none is named), flash-attn-3, flash-attn-4, torch; ==X for a version.",
    ),
]
KeepOption = Annotated[
    list[str] | None, typer.Option("--keep", metavar="NAME", help="What must not change (if none is named: torch).")
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="CHANGE", help="What may change: torch, cuda, build, python, driver, risky."),
]
StackOption = Annotated[str | None, typer.Option("--stack", metavar="NAME", help="Plan for a stack of `stacks list`.")]
WheelhouseOption = Annotated[
    Path | None, typer.Option("--wheelhouse", metavar="DIR", help="Take wheels from this folder, too.")
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Use no network.")]
WhyOption = Annotated[
    str | None, typer.Option("--why", metavar="WHEEL", help="Say why this wheel is planned, or why not.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Tell all of them, not only the first.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How the answer is written.")]
InsteadOption = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write it to a file instead of stdout.")
]


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
