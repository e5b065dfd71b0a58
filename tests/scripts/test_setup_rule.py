"""The numbering rule, on folders that keep it and on every way to break it; and on our own scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.preflight.setup_scripts import lint_setup

if TYPE_CHECKING:
    from pathlib import Path


def folder(root: Path, names: list[str], readme: str | None) -> Path:
    scripts = root / "scripts"
    scripts.mkdir()
    for name in names:
        (scripts / name).touch()
    if readme is not None:
        (root / "README.md").write_text(readme)
    return scripts


GOOD = ["0_create_venv.sh", "1_install_torch.sh", "2_install_axolotl.sh"]
TOLD = "Run 0_create_venv.sh, then `scripts/1_install_torch.sh`, then 2_install_axolotl.sh; it takes 10 minutes."


def codes(scripts: Path) -> list[str]:
    return [finding.code for finding in lint_setup(scripts)]


def test_a_good_folder_is_quiet_also_with_helpers_beside_the_steps(tmp_path: Path) -> None:
    assert codes(folder(tmp_path, [*GOOD, "common.sh", "doctor"], TOLD)) == []


@pytest.mark.parametrize(
    ("names", "readme", "expected"),
    [
        (["0_a.sh", "1_b.sh", "2_c.sh", "2_d.sh"], "0_a.sh 1_b.sh 2_c.sh 2_d.sh", ["S101"]),
        (["0_a.sh", "2_c.sh"], "0_a.sh 2_c.sh", ["S102"]),
        (["3_a.sh", "4_c.sh"], "3_a.sh 4_c.sh", ["S102"]),
        (GOOD, None, ["S103"]),
        (GOOD, "0_create_venv.sh 2_install_axolotl.sh", ["S104"]),
        (GOOD, TOLD + " Last, 3_forgotten.sh.", ["S105"]),
        (GOOD, "1_install_torch.sh, 0_create_venv.sh, 2_install_axolotl.sh", ["S106"]),
    ],
)
def test_each_way_to_break_it(tmp_path: Path, names: list[str], readme: str | None, expected: list[str]) -> None:
    scripts = folder(tmp_path, names, readme)
    assert codes(scripts) == expected
    assert all(finding.evidence and finding.remedy for finding in lint_setup(scripts))


def test_numbers_beyond_nine_are_numbers(tmp_path: Path) -> None:
    names = [f"{number}_step.sh" for number in range(12)]
    assert codes(folder(tmp_path, names, " ".join(names))) == []


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a folder"):
        lint_setup(tmp_path / "absent")
    with pytest.raises(BadInput, match="no numbered script"):
        lint_setup(folder(tmp_path, ["setup.sh"], ""))
