"""A torch that a fix brings is proved as every library is: one that does not import is not kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from clinic import Clinic, install_step, write_plan
from trees import snapshot
from wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_torch_that_does_not_import_brings_the_old_one_back(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    torch = {"torch/__init__.py": "raise ImportError('libcudart.so.99')", "torch/version.py": "__version__ = '2.9.0'"}
    wheel = build_wheel(clinic.wheels, "torch", "2.9.0", torch)
    before = snapshot(clinic.venv)
    plan = write_plan(clinic, install_step("torch", "2.9.0", wheel))
    done = clinic.run("fix", "--yes", "--plan", str(plan), "--json")
    assert done.returncode == 5, done.stdout
    assert "libcudart.so.99" in json.loads(done.stdout)["why"][0]
    assert snapshot(clinic.venv) == before
