"""Killed from outside at its N-th change of the target, or refused it: the target is as before, or the fix is complete.

A sample of 20 by default; FLASH_DOCTOR_CRASHES=100 (as .ci/run sets it) makes it 100; scripts/dev/crash_matrix.py
tries every one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mutations import MODES, Matrix

if TYPE_CHECKING:
    from pathlib import Path

CRASHES = int(os.environ.get("FLASH_DOCTOR_CRASHES", "20"))
GROUPS = 4


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    folder: Path = tmp_path_factory.mktemp("matrix")
    return Matrix.prepare(folder)


def test_the_shim_sees_what_happens(matrix: Matrix) -> None:
    assert matrix.calls > 80
    assert matrix.recovering > 30


@pytest.mark.parametrize("group", range(GROUPS))
def test_killed_anywhere(matrix: Matrix, group: int) -> None:
    """Spread over all calls, three in four killed, the others refused in turn."""
    numbers = [1 + (group + GROUPS * index) * matrix.calls // CRASHES for index in range(CRASHES // GROUPS)]
    modes = ["killed", "killed", "killed", *(mode for mode in MODES if mode != "killed")]
    for index, number in enumerate(numbers):
        mode = modes[(index + group) % len(modes)]
        assert matrix.try_at(number, mode) == "", f"{mode} at change {number} of {matrix.calls}"
