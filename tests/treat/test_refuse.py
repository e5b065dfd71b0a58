"""What is refused, each with its reason: on a real target whose description is changed in one place."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name

from flash_doctor.errors import BadInput
from flash_doctor.install.fetch import Sources
from flash_doctor.install.gather import demand_room, unpacked_size
from flash_doctor.install.hashes import Pins
from flash_doctor.install.open_files import users_of
from flash_doctor.install.refuse import refuse
from flash_doctor.install.summary import sheet_of
from flash_doctor.install.target_state import TargetState, examine, locked
from flash_doctor.model import Goal, Packages, Target, Torch
from flash_doctor.model.plan import Plan, Remove
from flash_doctor.system.process import SystemRunner

if TYPE_CHECKING:
    from clinic import Clinic

FLASH, TORCH = canonicalize_name("flash-attn"), canonicalize_name("torch")


@pytest.fixture
def patient(clinic: Clinic) -> TargetState:
    return examine(Target(python=clinic.venv / "bin" / "python", why="test"), SystemRunner())


def test_a_python_of_the_system_unless_insisted(patient: TargetState) -> None:
    managed = replace(patient, python=replace(patient.python, managed="[externally-managed]\nError=use a venv"))
    with pytest.raises(BadInput, match="belongs to the operating system") as caught:
        refuse(managed, [FLASH], system=False)
    assert "-m venv" in caught.value.advice
    refuse(managed, [FLASH], system=True)


def test_a_torch_that_no_index_has(patient: TargetState) -> None:
    torch = patient.environment.torch
    assert isinstance(torch, Torch)
    environment = replace(patient.environment, torch=replace(torch, vendor="NVIDIA NGC"))
    vendor = replace(patient, environment=environment)
    with pytest.raises(BadInput, match="NVIDIA NGC's own build"):
        refuse(vendor, [TORCH], system=False)
    refuse(vendor, [FLASH], system=False)


def test_an_editable_install(patient: TargetState) -> None:
    torch = patient.packages.find("torch")
    assert torch is not None
    linked = Packages(distributions=(replace(torch, editable=True),), leftovers=(), broken=())
    with pytest.raises(BadInput, match="editable") as caught:
        refuse(replace(patient, packages=linked), [TORCH], system=False)
    assert caught.value.advice.endswith(f"uv pip uninstall --python {patient.target.python} torch")


def test_what_belongs_to_another_environment_is_not_ours_to_take_out(patient: TargetState) -> None:
    torch = patient.packages.find("torch")
    assert torch is not None
    elsewhere = Packages(distributions=(replace(torch, location=Path("/opt/base")),), leftovers=(), broken=())
    assert replace(patient, packages=elsewhere).copies("torch") == ()


def test_room_is_asked_for_before_anything_is_written(tmp_path: Path) -> None:
    demand_room(tmp_path / "not" / "there yet", [1000, None], "for a test")
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(BadInput, match="not enough room for a test") as caught:
        demand_room(tmp_path / "not" / "there yet", [free, free], "for a test")
    assert "MiB are free" in caught.value.evidence[0]


def test_the_unpacked_size_is_that_of_the_files(clinic: Clinic) -> None:
    wheel = clinic.flash(ballast=1 << 20)
    assert 4 * wheel.stat().st_size > unpacked_size(wheel) > 1 << 20


def test_only_one_holds_the_lock_and_nothing_is_left(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(BadInput, match="another flash-doctor"), locked(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        pass


def test_processes_that_cannot_be_looked_at_are_passed_over(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    for number, text in (("7", "7f00-7f01 r-xp 00000000 00:00 1   /x/flash.so\n"), ("8", None), ("9", "7f00-7f01\n")):
        (proc / number).mkdir(parents=True)
        (proc / number / "comm").write_bytes(b"py\x1b[31mthon\xff\n")
        if text is not None:
            (proc / number / "maps").write_text(text)
    (found,) = users_of({Path("/x/flash.so"), Path("/x/plain.py")}, proc)
    assert found.told == "process 7 (py?[31mthon\ufffd), yours"


def test_pins_are_kept_and_a_damaged_file_stops(tmp_path: Path) -> None:
    Pins().plus("https://x.invalid/a", "1" * 64, 3).write(tmp_path)
    Pins.read(tmp_path).plus("https://x.invalid/a", "2" * 64, 3).write(tmp_path)
    assert [pin.sha256 for pin in Pins.read(tmp_path).pins] == ["2" * 64]
    (tmp_path / "pins.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        Pins.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"flash_attn/__init__.py,,\n", b'"' + b"x" * 200_000])
def test_a_record_that_was_damaged_tells_nothing(patient: TargetState, content: bytes) -> None:
    torch = patient.packages.find("torch")
    assert torch is not None
    (torch.metadata / "RECORD").write_bytes(content)
    with pytest.raises(BadInput, match="RECORD"):
        refuse(patient, [TORCH], system=False)


@pytest.mark.parametrize(("first", "told"), [(True, "hides the new one"), (False, "the new one comes before it")])
def test_a_copy_in_another_place_stays_and_which_one_python_takes_is_said(
    patient: TargetState, tmp_path: Path, first: bool, told: str
) -> None:
    torch = patient.packages.find("torch")
    assert torch is not None
    packages = replace(patient.packages, distributions=(torch, replace(torch, location=tmp_path)))
    path = (tmp_path, patient.site) if first else (patient.site, tmp_path)
    two = replace(patient, packages=packages, python=replace(patient.python, search_path=path))
    plan = Plan(goal=Goal(), steps=(Remove(name=TORCH, because="test"),), because=())
    sheet = sheet_of(two, plan, installer="uv", sources=Sources(cache=tmp_path))
    assert [note for note in sheet.notes if told in note]
