"""A folder of wheels (`--wheelhouse`): what it holds, for the resolver; a broken file is named, never skipped."""

from __future__ import annotations

import datetime
import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.model.wheel import Evidence, HashState, Wheel, WheelFamily
from flash_doctor.resolve.goal import FLASH
from flash_doctor.resolve.sources.names import gpu_code, platform
from flash_doctor.system.archive import open_zip
from flash_doctor.system.bounds import wheel_name

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.resolve.sources.matrix import Wheels

# +cu12torch2.8cxx11abiTRUE, +cu128torch2.9, +cu.12.8.torch.2.9
_LOCAL = re.compile(r"cu\.?(\d\d)\.?(\d)?\.?torch\.?(\d+)\.(\d+)(?:\.\d+)*(?:cxx11abi(true|false))?.*")


def read_wheelhouse(folder: Path, wheels: Wheels) -> tuple[Wheel, ...]:
    """Every flash-attention wheel in a folder, each with the sha256 of the file itself.

    A file that the matrix knows by name keeps its facts; of another one only its name and tags tell.

    Raises:
        BadInput: no such folder, or files that are no wheels; all of them are named.
    """
    if not folder.is_dir():
        message = f"{folder} is not a folder"
        raise BadInput(message)
    paths = sorted(folder.glob("*.whl"))
    faults = [f"{path.name}: {why}" for path in paths if (why := _fault(path))]
    if faults:
        message = f"{len(faults)} file(s) in {folder} are no wheels that could be installed"
        raise BadInput(message, evidence=faults, advice="Download them again, or take them out.")
    return tuple(_wheel(path, wheels) for path in paths if _is_flash(path))


def _fault(path: Path) -> str:
    """Why a file is no wheel, or nothing; the archive is opened, its members are not read."""
    try:
        wheel_name(path.name)
        with open_zip(path) as archive:
            names = archive.namelist()
    except ValueError as error:
        return str(error)
    return "" if any(name.endswith(".dist-info/METADATA") for name in names) else "it holds no METADATA"


def _is_flash(path: Path) -> bool:
    return wheel_name(path.name)[0] in FLASH


def _wheel(path: Path, wheels: Wheels) -> Wheel:
    python, abi, tag = path.name.removesuffix(".whl").rsplit("-", 3)[1:]
    known = wheels.names.get(path.name, ())
    family = known[0].family if known else _family(path, tag)
    return Wheel(
        family=_here(family, path),
        python=python,
        abi=abi,
        sha256=_sha256(path),
        size=path.stat().st_size,
        address=path.resolve().as_uri(),
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _here(family: WheelFamily, path: Path) -> WheelFamily:
    """The same facts for a file that is there: what it was promised as no longer matters."""
    date = datetime.date.fromtimestamp(path.stat().st_mtime).isoformat()
    return replace(
        family,
        publisher="your folder",
        trust=0,
        evidence=Evidence.MEASURED,
        source=f"the folder {path.parent}",
        date=date,
        hash_state=HashState.PINNED,
    )


def _family(path: Path, tag: str) -> WheelFamily:
    """What the name alone tells; the GPU code and, without a label, the ABI are judged once it is unpacked."""
    name, version, _ = wheel_name(path.name)
    local = version.local or ""
    match = _LOCAL.fullmatch(local)
    system, machine, floor = platform(tag)
    return WheelFamily(
        publisher="your folder",
        dist=name,
        version=Version(version.public),
        local=local,
        release="",
        cuda=Version(f"{match[1]}.{match[2]}" if match[2] else match[1]) if match else None,
        torch=Version(f"{match[3]}.{match[4]}") if match else None,
        newer_torch=False,
        built="",
        cxx11abi=match[5] == "true" if match and match[5] else None,
        code=gpu_code(""),
        platform=tag,
        system=system,
        machine=machine,
        glibc=Version(floor) if floor else None,
        evidence=Evidence.MEASURED,
        source="",
        date="",
        trust=0,
        template=None,
        index=None,
        hash_state=HashState.PINNED,
        requires=("torch", "einops"),
    )
