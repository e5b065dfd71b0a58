"""The command itself, on the real torch in a venv and on each way of breaking it: the right codes, nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from broken_torch import BREAKS, copy_of
from sites import site_of
from trees import snapshot

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

# What must be found, of the families that do not depend on the machine that the test runs on.
FOUND = {
    "library_missing": {"T505"},
    "library_truncated": {"T505"},
    "version_missing": {"T505"},
    "init_missing": {"T505"},
    "metadata_folder_missing": {"T511"},
    "module_missing": {"T505"},
    "metadata_file_missing": {"P402", "T511"},
    "second_copy": {"T506"},
    "interrupted_uninstall": {"P403", "T501"},
    "record_missing": {"T511"},
    "vendor_build": {"T503", "T505", "T506"},  # its metadata is still that of the torch it was laid over
    "companion_of_another_torch": {"C702"},
    "flash_without_module": {"F604", "C710"},
    "flash_of_another_python": {"F602"},
}
HARMLESS = {"metadata_folder_missing", "metadata_file_missing", "record_missing"}  # torch runs; only pip is lost
OF_THE_TARGET = tuple("PTFCL")


@pytest.fixture
def copy(torch_venv: Path, tmp_path: Path) -> Path:
    return copy_of(torch_venv, tmp_path / "copy")


def check(python: Path, folder: Path) -> dict[str, Any]:
    """The JSON of `flash-doctor check`, run in an empty folder as a user would; its exit code is the process's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "LD_"))}
    command = [sys.executable, "-m", "flash_doctor", "check", "--json", "--python", str(python)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=kept, timeout=60)
    assert done.stderr == ""
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    return document


def findings(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for finding in document["findings"] if finding["code"].startswith(OF_THE_TARGET)]


def test_a_healthy_torch_gives_no_finding_and_is_not_touched(copy: Path, tmp_path: Path) -> None:
    before = snapshot(copy)
    document = check(copy, tmp_path)
    assert snapshot(copy) == before
    # a machine with a GPU could say more of a CPU build of torch than that it is there and whole
    assert {finding["code"] for finding in findings(document)} <= ({"T502"} if _gpus(document) else set())
    assert document["environment"]["torch"]["version"].startswith("2.13.0")


def _gpus(document: dict[str, Any]) -> list[Any]:
    gpus: dict[str, Any] = document["environment"]["gpus"]
    return list(gpus.get("devices", []))


def test_every_way_of_breaking_has_its_code() -> None:
    assert FOUND.keys() == BREAKS.keys()
    assert len(FOUND) >= 10


@pytest.mark.parametrize("name", BREAKS)
def test_each_way_of_breaking_is_named(name: str, copy: Path, tmp_path: Path) -> None:
    BREAKS[name](site_of(copy))
    document = check(copy, tmp_path)
    found = [finding for finding in findings(document) if finding["code"] != "T502"]
    assert {finding["code"] for finding in found} == FOUND[name]
    assert all(finding["evidence"] for finding in found)
    serious = [finding["code"] for finding in found if finding["severity"] == "error"]
    assert bool(serious) != (name in HARMLESS)
    if serious:
        assert document["exit_code"] == 1
