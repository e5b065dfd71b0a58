"""The whole probe, on this machine and a real target: every part is there, and each fails alone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from broken_torch import BREAKS, copy_of
from claimed import decoded
from flash_doctor.errors import BadInput, TargetError
from flash_doctor.model import (
    Absent,
    Environment,
    FlashAttention,
    Host,
    Packages,
    Python,
    RecordCheck,
    RequirementLine,
    Target,
    Torch,
    Unknown,
)
from flash_doctor.probe import RECORDED, probe
from flash_doctor.probe.compose import attempt
from flash_doctor.probe.inside import is_wanted
from flash_doctor.probe.target import find_target
from flash_doctor.system.codec import encode
from flash_doctor.system.process import SystemRunner
from sites import install, site_of
from trees import snapshot

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder without a flash_attn, and a configuration of nobody."""
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")


def target_of(venv: Path) -> Target:
    return Target(python=venv / "bin" / "python", why="test")


def look(venv: Path, *, deep: bool = False, requirements: Path | None = None) -> Environment:
    return probe(target_of(venv), SystemRunner(), deep=deep, requirements=requirements)


def test_every_part_is_read(venv: Path) -> None:
    environment = look(venv)
    assert isinstance(environment.host, Host)
    assert isinstance(environment.python, Python)
    assert isinstance(environment.packages, Packages)
    assert isinstance(environment.torch, Absent)
    assert isinstance(environment.flash, Absent)
    assert isinstance(environment.requirements, Absent)
    assert isinstance(environment.variables, dict)


def test_it_survives_json(venv: Path) -> None:
    install(
        site_of(venv), "torch", "2.9.0", files={"torch/__init__.py": "", "torch/version.py": "__version__='2.9.0'\n"}
    )
    install(site_of(venv), "flash-attn", "2.8.3", files={"flash_attn_2_cuda.cpython-312-x.so": "x"})
    environment = look(venv)
    assert decoded(Environment, json.loads(json.dumps(encode(environment)))) == environment


def test_host_only_leaves_the_target_alone(tmp_path: Path) -> None:
    target = Target(python=tmp_path / "not" / "there", why="test")
    environment = probe(target, SystemRunner(), host_only=True)
    assert isinstance(environment.host, Host)
    for part in (environment.python, environment.packages, environment.torch, environment.flash):
        assert part == Unknown(unknown="not looked at: --host-only")


def test_a_target_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="is not a Python interpreter"):
        look(tmp_path)


def test_requirements_hold_for_the_target(venv: Path, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("--extra-index-url https://wheels.example/simple\ntorch==2.8\nnumpy; sys_platform == 'win32'\n")
    environment = look(venv, requirements=file)
    assert isinstance(environment.requirements, tuple)
    (line,) = environment.requirements
    assert isinstance(line, RequirementLine)
    assert (line.name, line.line) == ("torch", 2)
    assert isinstance(environment.indexes, tuple)
    assert environment.indexes[-1].origin == f"{file}, line 1"
    file.write_text("torch=2.8\n")
    with pytest.raises(BadInput, match="line 1"):
        look(venv, requirements=file)


def test_a_current_folder_that_was_deleted_does_not_matter(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deleted").mkdir()
    monkeypatch.chdir(tmp_path / "deleted")
    (tmp_path / "deleted").rmdir()
    target = find_target(None, {"VIRTUAL_ENV": str(venv)})
    environment = probe(target, SystemRunner())
    assert isinstance(environment.python, Python)
    assert isinstance(environment.flash, Absent)
    assert find_target(None, {}, home=venv).python == Path(sys.executable)


def test_paths_that_are_no_utf8_survive(venv: Path) -> None:
    name = b"~\xff-broken"
    Path(os.fsdecode(os.fsencode(site_of(venv)) + b"/" + name)).mkdir()
    environment = look(venv)
    (leftover,) = packages_of(environment).leftovers
    assert os.fsencode(leftover.name) == name
    assert decoded(Environment, json.loads(json.dumps(encode(environment)))) == environment


def test_what_the_facts_want_compared_is_compared() -> None:
    table = tomllib.loads((Path(__file__).parents[2] / "wheel_matrix" / "companions.toml").read_text(encoding="utf-8"))
    wanted = {name for name, row in table["package"].items() if row.get("record")}
    assert wanted
    assert {name for name in wanted if not is_wanted(name, list(RECORDED))} == set()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied", "/x"), "/x cannot be read: Permission denied"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "UnicodeDecodeError"),
        (BadInput("it is not what it should be"), "it is not what it should be"),
    ],
)
def test_a_part_that_breaks_becomes_unknown(error: Exception, says: str) -> None:
    def read() -> str:
        raise error

    part = attempt(read)
    assert isinstance(part, Unknown)
    assert says in part.unknown


def test_nothing_is_written(venv: Path) -> None:
    install(
        site_of(venv), "torch", "2.9.0", files={"torch/__init__.py": "", "torch/version.py": "__version__='2.9.0'\n"}
    )
    before = snapshot(venv)
    look(venv, deep=True)
    assert snapshot(venv) == before


# --- the real torch, healthy and broken ------------------------------------------------------------------------


def record_of(environment: Environment) -> RecordCheck:
    assert isinstance(environment.packages, Packages)
    torch = environment.packages.find("torch")
    assert torch is not None
    assert isinstance(torch.record, RecordCheck)
    return torch.record


@pytest.mark.torch
def test_the_real_torch_is_healthy(torch_venv: Path) -> None:
    environment = look(torch_venv)
    assert isinstance(environment.torch, Torch)
    assert environment.torch.version.base_version == "2.13.0"
    assert isinstance(environment.torch.cuda, Absent)
    assert environment.torch.cxx11abi is True
    assert {"libc10.so", "libtorch_cpu.so"} <= set(environment.torch.libraries)
    record = record_of(environment)
    assert record.files > 10_000
    assert (record.missing, record.changed) == ((), ())


@pytest.mark.torch
def test_a_linked_copy_reads_as_the_original(torch_venv: Path, tmp_path: Path) -> None:
    copy = look(copy_of(torch_venv, tmp_path / "copy"))
    assert isinstance(copy.torch, Torch)
    assert record_of(copy) == record_of(look(torch_venv))


SHOWS: dict[str, Callable[[Environment], bool]] = {}


def shows(function: Callable[[Environment], bool]) -> Callable[[Environment], bool]:
    """What the way of breaking of the same name must show in the Environment."""
    SHOWS[function.__name__] = function
    return function


@shows
def library_missing(found: Environment) -> bool:
    return record_of(found).missing == ("torch/lib/libtorch_cpu.so",)


@shows
def library_truncated(found: Environment) -> bool:
    assert isinstance(found.torch, Torch)
    return isinstance(found.torch.cxx11abi, Unknown) and record_of(found).changed == ("torch/lib/libc10.so",)


@shows
def version_missing(found: Environment) -> bool:
    return isinstance(found.torch, Unknown) and record_of(found).missing == ("torch/version.py",)


@shows
def init_missing(found: Environment) -> bool:
    return isinstance(found.torch, Torch) and record_of(found).missing == ("torch/__init__.py",)


@shows
def metadata_folder_missing(found: Environment) -> bool:
    return isinstance(found.torch, Torch) and packages_of(found).find("torch") is None


@shows
def module_missing(found: Environment) -> bool:
    return isinstance(found.torch, Absent) and len(record_of(found).missing) > 10_000


@shows
def metadata_file_missing(found: Environment) -> bool:
    (broken,) = packages_of(found).broken
    return broken.path.name.startswith("torch-") and broken.why == "has no METADATA"


@shows
def second_copy(found: Environment) -> bool:
    versions = [copy.raw_version.partition("+")[0] for copy in packages_of(found).copies("torch")]
    return versions == ["2.1.0", "2.13.0"]


@shows
def interrupted_uninstall(found: Environment) -> bool:
    leftovers = {path.name for path in packages_of(found).leftovers}
    return isinstance(found.torch, Absent) and leftovers == {"~orch", "~orch-2.1.0.dist-info"}


@shows
def record_missing(found: Environment) -> bool:
    torch = packages_of(found).find("torch")
    return torch is not None and isinstance(torch.record, Absent)


@shows
def vendor_build(found: Environment) -> bool:
    return isinstance(found.torch, Torch) and (found.torch.vendor, found.torch.cuda) == ("NVIDIA", Version("12.9"))


@shows
def companion_of_another_torch(found: Environment) -> bool:
    vision = packages_of(found).find("torchvision")
    return vision is not None and vision.requires == ("torch==2.1.0",)


@shows
def flash_without_module(found: Environment) -> bool:
    return isinstance(found.flash, FlashAttention) and bool(found.flash.packages) and not found.flash.modules


@shows
def flash_of_another_python(found: Environment) -> bool:
    assert isinstance(found.flash, FlashAttention)
    (package,) = found.flash.packages
    return package.tags == ("cp39-cp39-linux_x86_64",) and "cpython-39" in found.flash.extensions[0].name


def packages_of(environment: Environment) -> Packages:
    assert isinstance(environment.packages, Packages)
    return environment.packages


def is_shown(name: str, found: Environment) -> bool:
    """Whether it is seen; not, too, where a healthy copy has nothing of the kind to look at."""
    try:
        return SHOWS[name](found)
    except (AssertionError, ValueError):
        return False


def test_every_way_of_breaking_is_looked_for() -> None:
    assert SHOWS.keys() == BREAKS.keys()


@pytest.mark.torch
@pytest.mark.parametrize("name", BREAKS)
def test_each_way_of_breaking_torch_shows(name: str, torch_venv: Path, tmp_path: Path) -> None:
    copy = copy_of(torch_venv, tmp_path / "copy")
    assert not is_shown(name, look(copy))
    BREAKS[name](site_of(copy))
    assert is_shown(name, look(copy))
