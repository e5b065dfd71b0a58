"""Whether the `doctor` on PATH is ours: another package of the index installs a script of that name too."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from flash_doctor.model import Absent, OtherDoctor, Part, Unknown
from flash_doctor.probe.files import text_of
from flash_doctor.system.files import open_regular
from flash_doctor.system.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_OURS = "flash-doctor"
_ENTRY = re.compile(r"^doctor\s*=", re.MULTILINE)


def read_other_doctor(environ: Mapping[str, str]) -> Part[OtherDoctor]:
    """The `doctor` that the shell would run, when it is not ours; Absent when it is, or when there is none."""
    path = find_program("doctor", environ.get("PATH", os.defpath))
    if path is None:
        return Absent(absent="no program named doctor on PATH")
    with open_regular(path) as file:
        script = file.read(4096)
    if b"flash_doctor" in script or b"flash-doctor" in script:
        return Absent(absent=f"{path} is ours")
    return OtherDoctor(path=path, owner=_owner(path))


def _owner(path: Path) -> Part[str]:
    """The distribution of the same prefix whose entry points name a script `doctor`."""
    owners = [name for name in map(_project, _claims(path)) if name != _OURS]
    return owners[0] if owners else Unknown(unknown=f"no distribution beside {path} lists it in its entry points")


def _claims(path: Path) -> Iterator[Path]:
    for entry_points in path.parent.parent.glob("lib/python*/*-packages/*.dist-info/entry_points.txt"):
        if _ENTRY.search(text_of(entry_points) or ""):
            yield entry_points.parent


def _project(metadata: Path) -> str:
    return canonicalize_name(metadata.name.removesuffix(".dist-info").split("-")[0])
