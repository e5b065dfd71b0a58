"""Files that Python imports instead of the standard library's or an installed package's: they lie earlier on its path.

Only names are compared, nothing is imported. The rules are those of importlib's path finder: in each folder a package
(a folder with `__init__`) comes before a module (a file); a folder without `__init__` yields to anything further on.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from flash_doctor.model import Absent, Hider, OtherDoctor, Part, Shadow, Unknown
from flash_doctor.probe.files import text_of
from flash_doctor.system.files import open_regular
from flash_doctor.system.paths import find_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flash_doctor.model import Package, Packages, Python


_SOURCE_TREE = ("setup.py", "pyproject.toml", "setup.cfg")
_COMPILED_DEPTH = 3  # compiled files of a package lie in it, or in a folder or two below
_LISTED = 5000  # entries looked at for them


def read_shadows(
    python: Python, packages: Packages, started: frozenset[str], environ: Mapping[str, str], here: Path
) -> tuple[Shadow, ...]:
    """What the current folder and PYTHONPATH hide.

    Args:
        python: the target's interpreter.
        packages: its distributions; what an editable install imports from its source folder is no shadow.
        started: modules that are loaded before the current folder is on the path: it cannot hide them.
        environ: the variables that the target is run with.
        here: the current folder, which `python -c` and `python -m` put first.
    """
    search = _later(python, environ, here)
    sources = [source for package in packages.distributions for source in _sources(package, python)]
    return tuple(
        shadow
        for folder, hider in _earlier(python, environ, here)
        for shadow in _in_folder(folder, hider, search, python.abi)
        if not (hider is Hider.CURRENT_FOLDER and shadow.name in started)
        and not _below(os.path.realpath(shadow.path), sources)
    )


def _sources(package: Package, python: Python) -> Iterator[str]:
    """The source folder of an editable install: in direct_url.json, or where an old .egg-link leads."""
    if package.editable:
        if isinstance(package.url, str):
            yield os.path.realpath(unquote(urlsplit(package.url).path))
        if package.location not in python.site_packages:
            yield os.path.realpath(package.location)


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _earlier(python: Python, environ: Mapping[str, str], here: Path) -> Iterator[tuple[Path, Hider]]:
    """The folders that come before the standard library. An empty entry of PYTHONPATH is the current folder."""
    value = environ.get("PYTHONPATH", "")
    named = (
        {os.path.realpath(Path(here, entry)): Path(here, entry) for entry in value.split(os.pathsep)} if value else {}
    )
    safe = environ.get("PYTHONSAFEPATH") and python.version.release >= (3, 11)
    if not safe and os.path.realpath(here) not in named:
        yield here, Hider.CURRENT_FOLDER
    for folder in named.values():
        yield folder, Hider.PYTHONPATH


def _later(python: Python, environ: Mapping[str, str], here: Path) -> list[Path]:
    """The standard library and what comes behind it, which the earlier folders hide; each folder once."""
    early = {os.path.realpath(folder) for folder, hider in _earlier(python, environ, here) if hider is Hider.PYTHONPATH}
    later: dict[str, Path] = {}
    for folder in python.search_path:
        later.setdefault(os.path.realpath(folder), folder)
    return [folder for real, folder in later.items() if real not in early]


def _in_folder(folder: Path, hider: Hider, later: Iterable[Path], abi: str) -> Iterator[Shadow]:
    names = _names(folder)
    for place in later:
        common = names & _names(place) if names else set()
        for name in sorted(common):
            mine, theirs = find_module(folder, name, abi), find_module(place, name, abi)
            if mine is None or theirs is None:
                continue
            names.discard(name)  # what lies still further on is hidden by theirs anyway
            if os.path.realpath(mine) != os.path.realpath(theirs):
                yield Shadow(
                    name=name,
                    path=mine,
                    hides=theirs,
                    hider=hider,
                    lacks_compiled=has_compiled(theirs) and not has_compiled(mine),
                    source_tree=any((folder / file).is_file() for file in _SOURCE_TREE),
                )


def _names(folder: Path) -> set[str]:
    """What could be modules there, by the first part of their names."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 the names alone are compared
    except OSError:
        return set()
    return {name.partition(".")[0] for name in names} - {""}


def find_module(folder: Path, name: str, abi: str) -> Path | None:
    """What `import name` takes from this folder, for an interpreter of the wheel tag `abi` (cp312)."""
    for stem, found in ((f"{name}/__init__", folder / name), (name, None)):
        for suffix in _suffixes(abi):
            path = folder / (stem + suffix)
            if os.path.isfile(path):  # noqa: PTH113 Path.is_file raises in a folder that is closed to us
                return found or path
    return None


def _suffixes(abi: str) -> tuple[str, ...]:
    """In the order in which importlib tries them."""
    tag = f"cpython-{abi[2:]}"
    machine = os.uname().machine
    return (f".{tag}-{machine}-linux-gnu.so", ".abi3.so", ".so", ".py", ".pyc")


def has_compiled(path: Path) -> bool:
    """Whether a module is, or a package holds, a shared object; of a large package the first entries are looked at."""
    if not path.is_dir():
        return ".so" in path.suffixes
    looked = 0
    for folder, folders, files in os.walk(path):
        if any(file.endswith(".so") for file in files):
            return True
        looked += len(files) + len(folders)
        deep = len(Path(folder).relative_to(path).parts) >= _COMPILED_DEPTH - 1
        folders[:] = [] if deep or looked > _LISTED else sorted(folders)
    return False


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
