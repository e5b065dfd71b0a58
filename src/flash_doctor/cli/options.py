"""Options that several commands share, each said once: `python: PythonOption = None`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class FailOn(str, Enum):
    """The least severity that ends in exit code 1."""

    ERROR = "error"
    WARNING = "warning"


PythonOption = Annotated[
    str | None,
    typer.Option("--python", metavar="PYTHON|VENV", help="The interpreter or virtual environment to look at."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--for", metavar="REPORT", help="Judge the machine in a report (check --json) instead of this one."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write the JSON document to a file, too.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 6 if anything could not be checked.")]
FailOnOption = Annotated[FailOn, typer.Option("--fail-on", help="What ends in exit code 1.")]
StackOption = Annotated[
    str | None, typer.Option("--stack", metavar="NAME", help="Compare with a stack of `stacks list`.")
]
DeepOption = Annotated[bool, typer.Option("--deep", help="Compare the hash of every installed file, too.")]
HostOnlyOption = Annotated[bool, typer.Option("--host-only", help="Look at the machine only, at no Python.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="FAMILY,…", help="Make only the checks of these families, such as driver,gpu."),
]
RequirementsOption = Annotated[
    Path | None, typer.Option("--requirements", "-r", metavar="FILE", help="Compare with a requirements file.")
]
