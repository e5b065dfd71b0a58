"""sources.toml: the shipped one, and what it may not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from flash_doctor.errors import BadFacts
from flash_doctor.resolve.sources.live import load_live
from seats import facts

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = facts().folder / "wheels" / "sources.toml"


def test_the_shipped_sources() -> None:
    live = load_live(SHIPPED)
    assert live.kernels.covers(Version("2.9.1"))
    assert not live.kernels.covers(Version("2.15.0"))
    eight = next(row for row in live.same_symbols if Version("2.8") in row.torch)
    assert eight.joins((2, 8), (2, 9))
    assert not eight.joins((2, 9), (2, 10))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('versions = "2.5.8 2.6.3', 'versions = "2.6.3 2.5.8', "sdist.flash-attn: versions"),
        ("[cost]\n", "[costs]\n", "cost: name"),
        ('torch = "2.8 2.9"', 'torch = "2.8 nine"', "same_symbols.eight: torch"),
    ],
)
def test_a_fault_names_file_row_and_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = SHIPPED.read_text()
    assert old in text
    (tmp_path / "sources.toml").write_text(text.replace(old, new))
    with pytest.raises(BadFacts) as caught:
        load_live(tmp_path / "sources.toml")
    assert any(told in line for line in caught.value.evidence)
