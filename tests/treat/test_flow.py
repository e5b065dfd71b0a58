"""The commands together: what `plan` and `check` print is what `fix` and `bundle` take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from flash_doctor.facts import Facts
from flash_doctor.model import Capability

if TYPE_CHECKING:
    from clinic import Clinic


def test_a_plan_as_printed_is_a_plan_as_carried_out(clinic: Clinic) -> None:
    clinic.flash("2.8.3")
    clinic.einops()
    plan = clinic.folder / "plan.json"
    planned = clinic.run("plan", "--wheelhouse", str(clinic.wheels), "--offline", "--json")
    assert planned.returncode == 0, planned.stderr
    plan.write_text(planned.stdout)
    shown = json.loads(clinic.run("fix", "--plan", str(plan), "--dry-run", "--json").stdout)
    assert [change["name"] for change in shown["sheet"]["changes"]] == ["flash-attn", "einops"]
    done = clinic.run("fix", "--plan", str(plan), "--yes", "--import-only", "--json")
    assert json.loads(done.stdout)["state"] == "installed and verified", done.stderr
    again = json.loads(clinic.run("plan", "--wheelhouse", str(clinic.wheels), "--offline", "--json").stdout)
    assert again["steps"] == [], "plan and fix agree that nothing is to do"


def test_a_report_of_another_machine_becomes_its_bundle(clinic: Clinic) -> None:
    clinic.flash("2.8.3")
    clinic.einops()
    report, bag = clinic.folder / "node.json", clinic.folder / "bag"
    report.write_text(clinic.run("check", "--json").stdout)
    packed = clinic.run("bundle", str(bag), "--for", str(report), "--wheelhouse", str(clinic.wheels), target=False)
    assert packed.returncode == 0, packed.stderr
    assert sorted(path.suffix for path in bag.iterdir()) == [".json", ".whl", ".whl"]
    for wheel in clinic.wheels.iterdir():
        wheel.unlink()
    done = clinic.run("fix", "--bundle", str(bag), "--yes", "--import-only", "--json")
    assert json.loads(done.stdout)["state"] == "installed and verified", done.stdout


def test_without_a_plan_nothing_is_tried(clinic: Clinic) -> None:
    clinic.wheels.mkdir()
    done = clinic.fix()
    assert done.returncode == 3
    assert "no plan" in done.stderr


@pytest.mark.parametrize(
    ("dist", "version", "gpus", "dims"),
    [
        ("flash-attn", "2.8.3", ["12.0"], (64, 128, 256)),
        ("flash-attn", "2.5.0", ["8.6"], (64, 128)),
        ("flash-attn", "2.5.0", ["8.0", "9.0"], (64, 128, 256)),
        ("flash-attn", "2.5.0", ["8.0", "8.6"], (64, 128)),
        ("flash-attn", None, ["8.6"], (64, 128)),
        ("flash-attn-4", "4.0.0", ["10.0"], (64, 128)),
        ("torch", "2.8.0", [], (64,)),
    ],
)
def test_head_dimensions_whose_backward_pass_works(
    dist: str, version: str | None, gpus: list[str], dims: tuple[int, ...]
) -> None:
    seen = [Capability(major=int(text.split(".")[0]), minor=int(text.split(".")[1])) for text in gpus]
    assert Facts().flash.head_dims(dist, Version(version) if version else None, seen) == dims
