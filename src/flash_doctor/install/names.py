"""Names in a wheel that lead out of the folder it is unpacked into; not every installer refuses each of them."""

from __future__ import annotations

import configparser
import zipfile
from typing import TYPE_CHECKING

from flash_doctor.errors import InstallFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCRIPTS = ("console_scripts", "gui_scripts")
_SHOWN = 5


def check_names(wheel: Path) -> None:
    """Raises InstallFailed when a file or a program in the wheel has a name that leads elsewhere, or it is damaged."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            texts = [archive.read(name) for name in names if name.endswith(".dist-info/entry_points.txt")]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        message = f"{wheel.name} is damaged: it cannot be read as an archive"
        raise InstallFailed(message, evidence=(str(error),)) from error
    programs = [program for text in texts for program in _programs(text.decode("utf-8", "replace"))]
    bad = [name for name in names if _leads_out(name)] + [name for name in programs if "/" in name or "\\" in name]
    if bad:
        message = f"{wheel.name} wants to write outside of the environment"
        raise InstallFailed(message, evidence=bad[:_SHOWN])


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def _programs(text: str) -> Iterator[str]:
    """Names of the programs that an installer would make, as the entry point specification writes them."""
    parser = configparser.ConfigParser(strict=False, delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for section in _SCRIPTS:
        if parser.has_section(section):
            yield from parser.options(section)
