"""The little of a target that `doctor abi` needs: its ABI tag, where its torch lies, a package's shared objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, Part
from flash_doctor.probe.packages import assigned, parse_version
from flash_doctor.probe.target_script import start_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.model import Target
    from flash_doctor.system.process import Runner

# Nothing is imported there: find_spec of a top-level name only looks along sys.path.
_SCRIPT = """
import sys, sysconfig
def shared_objects(name):
    from importlib import metadata
    try:
        files = metadata.distribution(name).files or []
    except metadata.PackageNotFoundError:
        return None
    return [str(file.locate()) for file in files if file.name.endswith(".so") or ".so." in file.name]
def main(names):
    from importlib.machinery import PathFinder
    spec = PathFinder.find_spec("torch")
    torch = list(spec.submodule_search_locations or [])[:1] if spec else []
    return {
        "soabi": sysconfig.get_config_var("SOABI") or "",
        "site": sysconfig.get_paths()["platlib"],
        "torch": torch,
        "packages": {name: shared_objects(name) for name in names} if names else {},
    }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """`abi` is cp312 or cp313t; `site` where packages are installed; `torch` its folder; `packages` name to files."""

    abi: str
    site: Path
    torch: Path | None
    torch_version: Part[Version]
    packages: dict[str, tuple[Path, ...]]


def find_modules(target: Target, runner: Runner, names: Sequence[str] = ()) -> Modules:
    """Ask the target once.

    Raises:
        TargetError: it is no Python that can be examined.
        BadInput: one of `names` is not installed there.
    """
    answer = start_script(target, runner, _SCRIPT, names).answer()
    missing = [name for name, files in answer["packages"].items() if files is None]
    if missing:
        message = f"{missing[0]} is no file, no address and no package installed in {target.python}"
        raise BadInput(message, advice="Name a shared object, a wheel, the address of a wheel, or a package.")
    torch = Path(answer["torch"][0]) if answer["torch"] else None
    return Modules(
        abi=_abi(answer["soabi"]),
        site=Path(answer["site"]),
        torch=torch,
        torch_version=_torch_version(torch),
        packages={name: tuple(map(Path, files)) for name, files in answer["packages"].items()},
    )


def _abi(soabi: str) -> str:
    """cp312 from cpython-312-x86_64-linux-gnu."""
    parts = soabi.split("-")
    return f"cp{parts[1]}" if len(parts) > 1 else ""


def _torch_version(folder: Path | None) -> Part[Version]:
    if folder is None:
        return Absent(absent="no torch on the target's sys.path")
    return parse_version(str(assigned(folder / "version.py").get("__version__")))
