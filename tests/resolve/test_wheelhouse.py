"""A folder of wheels as a source: known files, foreign files, broken files."""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.model import Goal
from flash_doctor.model.plan import Plan
from flash_doctor.model.wheel import HashState
from flash_doctor.resolve import Wheels, resolve
from flash_doctor.resolve.sources.wheelhouse import read_wheelhouse
from seats import described, facts, wheels

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = "flash_attn-2.8.2+cu12torch2.8cxx11abiFALSE-cp312-cp312-linux_x86_64.whl"
LYING = "flash_attn-2.8.2+cu12torch2.6cxx11abiFALSE-cp312-cp312-linux_x86_64.whl"
FOREIGN = "flash_attn-2.8.4+cu128torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"


def wheel(folder: Path, name: str) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name.split('-')[0]}-1.dist-info/METADATA", "Name: flash_attn\n")
    return path


def test_a_known_file_keeps_its_facts_and_has_the_hash_of_the_file(tmp_path: Path) -> None:
    path = wheel(tmp_path, LYING)
    (found,) = read_wheelhouse(tmp_path, wheels())
    assert found.family.cxx11abi is True, "the name says FALSE, the matrix knows better"
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.hash_state is HashState.PINNED
    assert found.url == path.as_uri()
    assert found.filename == LYING


def test_a_foreign_file_is_judged_by_its_name(tmp_path: Path) -> None:
    wheel(tmp_path, FOREIGN)
    (found,) = read_wheelhouse(tmp_path, wheels())
    family = found.family
    assert (str(family.version), str(family.cuda), str(family.torch)) == ("2.8.4", "12.8", "2.8")
    assert family.cxx11abi is True
    assert family.code == ()
    answer = resolve(
        Goal(), described({"torch": "2.8.0+cu128", "python_version": "3.12"}), Wheels(groups=()).plus([found]), facts()
    )
    assert isinstance(answer, Plan)
    assert answer.wheel == found


def test_other_packages_are_not_the_resolvers(tmp_path: Path) -> None:
    wheel(tmp_path, "einops-0.8.1-py3-none-any.whl")
    wheel(tmp_path, KNOWN)
    assert [found.filename for found in read_wheelhouse(tmp_path, wheels())] == [KNOWN]


def test_every_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / KNOWN).write_bytes(b"half a download")
    (tmp_path / "nonsense.whl").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / FOREIGN, "w") as archive:
        archive.writestr("empty", "")
    with pytest.raises(BadInput, match="3 file") as caught:
        read_wheelhouse(tmp_path, wheels())
    assert [line.split(":")[0] for line in caught.value.evidence] == [KNOWN, FOREIGN, "nonsense.whl"]


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a folder"):
        read_wheelhouse(tmp_path / "nowhere", wheels())
