"""Who covers which cell: compared with the oracle's loops, and the cells that nobody covers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from flash_doctor.model import Goal
from flash_doctor.resolve.constraints import take_seat
from flash_doctor.resolve.coverage import coverage, here
from flash_doctor.resolve.goal import read_goal
from seats import described, facts, wheels
from wheel_oracle import Machine, wheels_for

if TYPE_CHECKING:
    from flash_doctor.model.wheel import Cell


@cache
def cells() -> tuple[Cell, ...]:
    return coverage(wheels(), facts())


def test_empty_cells_are_those_for_which_the_oracle_finds_nothing() -> None:
    builds = {(minor, tag): build for minor, rows in facts().torch.builds.items() for tag, build in rows.items()}
    for cell in cells()[::7]:
        build = builds[cell.torch, cell.tag]
        machine = Machine(
            python=f"3.{cell.python[3:]}",
            torch=(cell.torch.major, cell.torch.minor),
            cuda=(build.cuda.major, build.cuda.minor),
            cxx11abi=build.cxx11abi,
            machine=cell.machine,
        )
        found = wheels_for(machine)
        assert cell.empty == (not found), cell
        assert set(cell.newest) == {row["publisher"] for row in found}


def test_nobody_covers_torch_215() -> None:
    assert all(cell.empty for cell in cells() if str(cell.torch) == "2.15")
    empty = {(cell.machine, str(cell.torch), cell.tag, cell.python) for cell in cells() if cell.empty}
    assert ("x86_64", "2.7", "cu118", "cp313") in empty
    assert ("aarch64", "2.6", "cu126", "cp313") in empty
    assert ("x86_64", "2.9", "cu128", "cp312") not in empty


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ({"torch": "2.8.0+cu128", "python_version": "3.12", "machine": "x86_64"}, 1),
        ({"torch": "2.8.0+cu128", "python_version": "3.12"}, 1),
        ({"torch": "2.9.1+cu130", "python_version": "3.12"}, 2),
        ({"torch": "2.8.0a0+abc.nv25.05", "machine": "aarch64", "python_version": "3.12"}, 1),
    ],
)
def test_you_are_here(words: dict[str, str], count: int) -> None:
    seat = take_seat(described(words), facts(), read_goal(Goal())).seat
    assert len(list(here(cells(), seat))) == count
