"""Names in a wheel that lead out of the folder it is unpacked into; not every installer refuses each of them."""

from __future__ import annotations

import configparser
import zipfile
import zlib
from typing import TYPE_CHECKING

from flash_doctor.errors import InstallFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCRIPTS = ("console_scripts", "gui_scripts")
# what zipfile raises for a damaged archive, an encrypted one (RuntimeError), an unknown compression
_FAULTS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)
_SHOWN = 5
_LARGEST = 1 << 20  # bytes of a list of programs: more is a bomb


def check_names(wheel: Path) -> None:
    """Raises InstallFailed when a file or a program in the wheel has a name that leads elsewhere, or it is damaged."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            texts = [_text(archive, name) for name in names if name.endswith(".dist-info/entry_points.txt")]
    except _FAULTS as error:
        message = f"{wheel.name} is damaged: it cannot be read as an archive"
        raise InstallFailed(message, evidence=(str(error),)) from error
    programs = [program for text in texts for program in _programs(text)]
    bad = [name for name in names if _leads_out(name)] + [name for name in programs if "/" in name or "\\" in name]
    if bad:
        message = f"{wheel.name} wants to write outside of the environment"
        raise InstallFailed(message, evidence=bad[:_SHOWN])


def _text(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        message = f"{name} is larger than {_LARGEST} bytes"
        raise ValueError(message)
    return text.decode("utf-8", "replace")


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
