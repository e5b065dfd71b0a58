"""Names in a wheel: the list of programs may be a bomb, or damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import InstallFailed
from flash_doctor.install.staging import check_names
from wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path

LIST = "x-1.dist-info/entry_points.txt"


def test_a_list_of_programs_is_read_within_bounds(tmp_path: Path) -> None:
    check_names(build_wheel(tmp_path / "fine", "x", "1", {LIST: "[console_scripts]\nx = x:main\n"}))
    bomb = build_wheel(tmp_path / "bomb", "x", "1", {LIST: "#" * (64 << 20)})
    with pytest.raises(InstallFailed, match="cannot be read") as caught:
        check_names(bomb)
    assert "is larger than" in caught.value.evidence[0]


def test_a_damaged_list_of_programs_is_refused_in_words(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "x", "1", {LIST: "".join(map(chr, range(32, 120))) * 99})
    content = bytearray(wheel.read_bytes())
    start = content.index(LIST.encode()) + len(LIST)
    content[start : start + 40] = b"\xff" * 40
    wheel.write_bytes(content)
    with pytest.raises(InstallFailed, match="is damaged"):
        check_names(wheel)
