"""torch as it lies on the disk: torch/version.py is parsed and torch/lib listed, nothing is imported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.version import Version

from flash_doctor.errors import DoctorError
from flash_doctor.model import Absent, Packages, Part, Torch, Unknown
from flash_doctor.probe.packages import assigned, parse_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.model import Package

# Who builds a torch of their own says so in the version: NGC `2.7.0a0+79aa17489c.nv25.04`, Jetson `2.3.0+nv24.05`.
_NVIDIA = re.compile(r"[+.]nv\d")
_GIT_BUILD = re.compile(r"a0(\+|$)")


def read_torch(search_path: Iterable[Path], packages: Packages) -> Part[Torch]:
    """The torch that an import in the target would take.

    Returns:
        Absent without one; Unknown when its folder is there but version.py cannot be read.
    """
    folder = _find(search_path, packages)
    if folder is None:
        return Absent(absent="not installed: no folder torch on the target's sys.path")
    facts = assigned(folder / "version.py")
    version = parse_version(str(facts.get("__version__")))
    if not isinstance(version, Version):
        return Unknown(unknown=f"{folder / 'version.py'} is missing or gives no version")
    return Torch(
        version=version,
        location=folder,
        git=_text(facts, "git_version"),
        cuda=_cuda(facts),
        hip=_text(facts, "hip"),
        vendor=_vendor(str(facts["__version__"])),
        cxx11abi=_cxx11abi(folder / "lib" / "libc10.so"),
        libraries=_libraries(folder / "lib"),
    )


def _find(search_path: Iterable[Path], packages: Packages) -> Path | None:
    """A regular package on the path, else the source tree of an editable install, else a folder of a damaged torch."""
    folders = [folder / "torch" for folder in search_path]
    if package := packages.find("torch"):
        folders += editable_folders(package, "torch")
    whole = (folder for folder in folders if (folder / "__init__.py").is_file())
    # without __init__.py it is a damaged torch, and its version still says which one it was
    damaged = (folder for folder in folders if (folder / "version.py").is_file() or (folder / "lib").is_dir())
    return next(whole, None) or next(damaged, None)


def editable_folders(package: Package, module: str) -> list[Path]:
    """Where an editable install's module lies: its project folder or src in it."""
    if not package.editable or not isinstance(package.url, str):
        return []
    project = Path(unquote(urlsplit(package.url).path))
    return [project / module, project / "src" / module]


def _text(facts: dict[str, object], name: str) -> Part[str]:
    value = facts.get(name)
    return value if isinstance(value, str) else Absent(absent=f"torch/version.py gives no {name}")


def _cuda(facts: dict[str, object]) -> Part[Version]:
    value = facts.get("cuda")
    return parse_version(value) if isinstance(value, str) else Absent(absent="torch was built without CUDA")


def _cxx11abi(libc10: Path) -> Part[bool]:
    """Which std::string torch was built with, by a symbol of libc10.so."""
    from flash_doctor.abi.binary import torch_cxx11abi

    try:
        found = torch_cxx11abi(libc10)
    except DoctorError as error:
        return Unknown(unknown=error.message)
    except OSError as error:
        return Unknown(unknown=f"{libc10} cannot be read: {error.strerror}")
    return Unknown(unknown=f"{libc10} shows neither form of std::string") if found is None else found


def _vendor(version: str) -> Part[str]:
    if _NVIDIA.search(version):
        return "NVIDIA"
    if _GIT_BUILD.search(version):
        return "a build from a source tree"
    return Absent(absent="the version has no vendor's mark")


def _libraries(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(path.name for path in folder.iterdir() if ".so" in path.name))
    except OSError:
        return ()
