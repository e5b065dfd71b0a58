"""The ward: recorded patients, one JSON file each in `tests/machines/`, named for their disease.

A patient is either a whole machine (`environment`) or a change to another patient (`base`, by file name):

    about    one sentence: what happened to this machine, and where it was seen
    base     the patient it starts from (default: healthy-h100)
    set      a merge patch on the environment: objects merge, everything else replaces; an object with the
             key `absent` or `unknown` replaces the whole part; each entry of `gpus.devices` is merged onto
             the base's first GPU, so that `[{"capability": {...}}, {"index": 1}]` makes two GPUs
    install  {name: distribution}: version (required) and what differs from a plain wheel; a list of them
             makes several copies, met in that order
    remove   names of distributions taken away
    extensions  compiled files: `owner`, `name`, `sass` and `ptx`, and what differs from a file that loads; `file`
             (a marker) where only the GPU code was read. A patient that names none has none: they are not inherited
    fires    the codes of the findings that the whole diagnosis must give, exactly, sorted

`flash.packages` is filled from the distributions whose name begins with flash-attn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claimed import decoded
from flash_doctor.model import Environment, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

MACHINES = Path(__file__).parents[1] / "machines"
HEALTHY = "healthy-h100"
Json = dict[str, Any]


@dataclass(frozen=True)
class Patient:
    """One recorded machine and the codes that its diagnosis must give."""

    name: str
    about: str
    fires: tuple[str, ...]
    environment: Environment

    @property
    def target(self) -> Target:
        return Target(python=Path("/opt/train/bin/python"), why="recorded")


def names() -> list[str]:
    return sorted(path.stem for path in MACHINES.glob("*.json"))


@cache
def patient(name: str) -> Patient:
    file = _read(name)
    environment = decoded(Environment, recorded(name))
    return Patient(name, file["about"], tuple(file["fires"]), environment)


def ward() -> list[Patient]:
    return [patient(name) for name in names()]


def _read(name: str) -> Json:
    data: Json = json.loads((MACHINES / f"{name}.json").read_text(encoding="utf-8"))
    unknown = set(data) - {"about", "base", "set", "environment", "install", "remove", "extensions", "fires"}
    assert not unknown, f"{name}.json: no such key: {unknown}"
    return data


@cache
def _whole(name: str) -> str:
    """The patient's environment as JSON text (text, so that no caller can change the cached one)."""
    file = _read(name)
    if "environment" in file:
        environment, base_gpu = file["environment"], None
    else:
        environment = recorded(file.get("base", HEALTHY))
        base_gpu = (environment["gpus"].get("devices") or [None])[0]
        environment = merge(environment, file.get("set", {}))
    _fill_gpus(environment, base_gpu)
    _change_packages(environment, file.get("install", {}), file.get("remove", []))
    environment["extensions"] = [_extension(environment, each) for each in file.get("extensions", [])] or {
        "absent": "no compiled file here needs torch or brings GPU code"
    }
    return json.dumps(environment)


def recorded(name: str) -> Json:
    """The patient's environment as a report has it."""
    loaded: Json = json.loads(_whole(name))
    return loaded


def merge(base: Any, patch: Any) -> Any:
    """Objects merge; anything else, and the markers `absent` and `unknown`, replaces."""
    if not isinstance(base, dict) or not isinstance(patch, dict) or _is_marker(base) or _is_marker(patch):
        return patch
    return {**base, **{key: merge(base.get(key), value) for key, value in patch.items()}}


def _is_marker(data: Mapping[str, object]) -> bool:
    return data.keys() in ({"absent"}, {"unknown"})


def _fill_gpus(environment: Json, base_gpu: Json | None) -> None:
    if base_gpu and environment["gpus"].get("devices"):
        environment["gpus"]["devices"] = [merge(base_gpu, gpu) for gpu in environment["gpus"]["devices"]]


def _change_packages(environment: Json, install: Json, remove: list[str]) -> None:
    if _is_marker(environment["packages"]):
        return
    site = environment["python"].get("site_packages", ["/opt/train/lib/python3.12/site-packages"])[0]
    gone = {*install, *remove}
    kept = [package for package in environment["packages"]["distributions"] if package["name"] not in gone]
    new = [
        _distribution(site, name, copy)
        for name, copies in install.items()
        for copy in (copies if isinstance(copies, list) else [copies])
    ]
    environment["packages"]["distributions"] = kept + new
    if not _is_marker(environment["flash"]):
        family = [package for package in kept + new if package["name"].startswith(("flash-attn", "flashattn"))]
        environment["flash"]["packages"] = family


def _distribution(site: str, name: str, differs: Json) -> Json:
    location = differs.get("location", site)
    version = differs["version"]
    plain = {
        "name": name,
        "raw_version": version,
        "metadata": f"{location}/{name.replace('-', '_')}-{version}.dist-info",
        "location": location,
        "installer": "pip",
        "url": {"absent": "no direct_url.json"},
        "editable": False,
        "in_user_site": False,
        "requires": [],
        "requires_python": "",
        "tags": ["py3-none-any"],
        "top_level": [name.replace("-", "_")],
        "record": {"unknown": "not compared"},
    }
    return {**plain, **differs}


def _extension(environment: Json, differs: Json) -> Json:
    """One compiled file; of a file that cannot be loaded, `unresolved` holds symbols as far as they differ, too."""
    differs = dict(differs)
    owner, name, marker = differs.pop("owner"), differs.pop("name"), differs.pop("file", None)
    archs = {"sass": differs.pop("sass", ["8.0", "9.0"]), "ptx": differs.pop("ptx", [])}
    path = f"{environment['python']['site_packages'][0]}/{name}"
    symbol: Json = {"demangled": "", "version": None, "wanted_by": Path(name).name, "exported_by": [], "releases": ""}
    plain = {
        "path": path,
        "machine": "x86_64",
        "links_torch": True,
        "stable_torch": False,
        "cxx11abi": True,
        "torch_releases": ["2.8.0"],
        "built_for": "built for torch 2.8",
        "loads": True,
        "unresolved": [],
        "missing_libraries": [],
        "missing_versions": [],
        "broken": [],
        "cuda_archs": archs,
        "gpu_code": "machine code",
        "needed": ["libc10.so", "libtorch.so", "libcudart.so.12"],
        "glibc": "2.28",
        "glibcxx": "3.4.21",
        "python_abi": "cp312",
        "fits_python": True,
        "numpy": {"absent": "it does not use numpy's C interface"},
    }
    file = {**plain, **differs}
    file["unresolved"] = [{**symbol, "demangled": each["symbol"], **each} for each in file["unresolved"]]
    return {"path": path, "owner": owner, "cuda_archs": archs, "file": marker or file}
