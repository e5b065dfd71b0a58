"""Names in a wheel that lead out of the folder it is unpacked into; not every installer refuses each of them."""

from __future__ import annotations

import configparser
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flash_doctor.errors import InstallFailed
from flash_doctor.system.archive import BadArchive, open_zip, read_member

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from pathlib import Path

_SCRIPTS = ("console_scripts", "gui_scripts")
_SHOWN = 5
_LARGEST = 1 << 20  # bytes of a list of programs: more is a bomb
_LISTS = 8  # of programs: a wheel has one


def check_names(wheel: Path) -> None:
    """Raises InstallFailed when a file or a program in the wheel has a name that leads elsewhere, or it is damaged."""
    with _opened(wheel) as archive:
        names = archive.namelist()
        lists = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        if len(lists) > _LISTS:
            message = f"{len(lists)} lists of programs"
            raise BadArchive(message)
        texts = [read_member(archive, name, _LARGEST).decode("utf-8", "replace") for name in lists]
    programs = [program for text in texts for program in _programs(text)]
    bad = [name for name in names if _leads_out(name)] + [name for name in programs if "/" in name or "\\" in name]
    if bad:
        message = f"{wheel.name} wants to write outside of the environment"
        raise InstallFailed(message, evidence=bad[:_SHOWN])


def entries_of(wheel: Path) -> list[zipfile.ZipInfo]:
    """Every entry of a wheel, folders included.

    Raises:
        InstallFailed: it cannot be read as an archive.
    """
    with _opened(wheel) as archive:
        return archive.infolist()


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with open_zip(wheel) as archive:
            yield archive
    except BadArchive as error:
        message = f"{wheel.name} is damaged: it cannot be read as an archive"
        raise InstallFailed(message, evidence=(str(error),)) from error


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
