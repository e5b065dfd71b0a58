"""Bundles for machines without network, and source builds that compile a real extension."""

from __future__ import annotations

import io
import json
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from clinic import FITTING, Clinic, install_step, sha256, write_plan
from compiled import MODULE, references
from flash_doctor.install.plan_file import read_plan
from servers import Site, serve
from trees import snapshot
from wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bundle_treats_a_machine_without_network(clinic: Clinic) -> None:
    wheel, einops = clinic.flash("2.8.3", folder="shop"), clinic.einops("shop")
    with serve(
        Site(files={f"/{path.name.replace('+', '%2B')}": path.read_bytes() for path in (wheel, einops)})
    ) as site:
        versions = {wheel: ("flash-attn", "2.8.3"), einops: ("einops", "0.8.1")}
        steps = [
            install_step(*names, path, url=f"{site.url}/{path.name.replace('+', '%2B')}")
            for path, names in versions.items()
        ]
        plan = write_plan(clinic, *steps)
        packed = clinic.run("bundle", str(clinic.folder / "bag"), "--plan", str(plan))
        assert packed.returncode == 0, packed.stderr
        assert "fix --bundle" in packed.stdout
    wheel.unlink()
    clinic.environment["FLASH_DOCTOR_CACHE"] = str(clinic.folder / "another machine")
    done = clinic.run("fix", "--yes", "--import-only", "--bundle", str(clinic.folder / "bag"), "--json")
    assert json.loads(done.stdout)["state"] == "installed and verified", done.stderr
    ready = read_plan(clinic.folder / "bag" / "plan.json", tuple)
    assert [step.name for step in ready.steps] == ["flash-attn", "einops"]
    (clinic.folder / "bag" / einops.name).write_bytes(b"another file")
    clinic.run("rollback")
    before = snapshot(clinic.venv)
    spoiled = clinic.run("fix", "--yes", "--import-only", "--bundle", str(clinic.folder / "bag"), "--json")
    assert spoiled.returncode == 4
    assert snapshot(clinic.venv) == before


def text(*steps: dict[str, Any]) -> str:
    return json.dumps({"schema": "flash-doctor/plan/1", "steps": steps, "because": [], "goal": {}})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "cannot be read"),
        ("{}", "no plan that this version"),
        (text({"action": "shout", "name": "x"}), "steps[0].action"),
        (text({"action": "install", "name": "x", "because": "", "requirement": "x @ http"}), "x"),
        (text({"action": "install", "name": "x", "because": "", "requirement": "y==1"}), "is not x"),
        (text(), "holds no step"),
    ],
)
def test_a_plan_that_is_none_is_named_by_its_path(clinic: Clinic, content: str, fault: str) -> None:
    path = clinic.folder / "plan.json"
    path.write_text(content)
    done = clinic.run("fix", "--yes", "--plan", str(path))
    assert done.returncode in {2, 3}
    assert fault in done.stderr


SETUP = """
import os, subprocess, sys
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

class Build(build_ext):
    def run(self):
        super().run()
        for number in (1, 2, 3):
            print(f"[{number}/3] object {number}", flush=True)
        seen = ("FLASH_ATTN_CUDA_ARCHS", "MAX_JOBS", "NVCC_THREADS", "CUDA_HOME", "TORCH_CUDA_ARCH_LIST")
        with open(os.environ["SEEN"], "a") as file:
            file.write(repr({name: os.environ.get(name) for name in seen}) + "\\n")
        if os.path.exists(os.environ["SEEN"] + ".fail"):
            sys.exit("fatal error: the compiler ran out of memory")

setup(
    name="flash_attn", version="2.8.3", packages=["flash_attn", "flash_attn.layers"], cmdclass={"build_ext": Build},
    ext_modules=[
        Extension("flash_attn_2_cuda", ["csrc/one.c"], extra_link_args=["-Wl,--no-as-needed", os.environ["C10"]])
    ],
)
"""


def sdist(clinic: Clinic) -> Path:
    """A source distribution with flash-attn's interface: it compiles against the target's torch."""
    path = clinic.folder / "flash_attn-2.8.3.tar.gz"
    files = {
        "setup.py": SETUP,
        "csrc/one.c": MODULE.format(name="flash_attn_2_cuda") + references([FITTING]),
        "flash_attn/__init__.py": "import torch\nimport flash_attn_2_cuda\n__version__ = '2.8.3'\n",
        "flash_attn/bert_padding.py": "",
        "flash_attn/layers/__init__.py": "",
        "flash_attn/layers/rotary.py": "",
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"flash_attn-2.8.3/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return path


def build_step(clinic: Clinic, **more: Any) -> dict[str, Any]:
    """A Build step for our source; the environment gets what its setup.py asks for."""
    source = sdist(clinic)
    c10 = clinic.site / "torch" / "lib" / "libc10.so"
    clinic.environment |= {"SEEN": str(clinic.folder / "seen"), "C10": str(c10)}
    return {
        "action": "build", "name": "flash-attn", "requirement": "flash-attn==2.8.3", "because": "no wheel fits",
        "settings": {"FLASH_ATTN_CUDA_ARCHS": "90", "MAX_JOBS": "2", "NVCC_THREADS": "1"}, "jobs": 2, "minutes": 1,
        "memory": 1, "url": source.as_uri(), "sha256": sha256(source), "size": source.stat().st_size, **more,
    }  # fmt: skip


@pytest.mark.index
def test_a_source_build_goes_on_where_it_ended_and_is_kept(clinic: Clinic) -> None:
    seen = clinic.folder / "seen"
    plan = write_plan(clinic, build_step(clinic))
    before = snapshot(clinic.venv)
    (clinic.folder / "seen.fail").touch()
    arguments = ("fix", "--yes", "--import-only", "--plan", str(plan), "--json")
    failed = clinic.run(*arguments)
    assert failed.returncode == 4
    assert "ran out of memory" in failed.stdout
    assert snapshot(clinic.venv) == before
    (objects,) = (clinic.folder / "cache" / "builds").glob("*/source/*/build/temp*/csrc/one.o")
    compiled_at = objects.stat().st_mtime_ns
    (clinic.folder / "seen.fail").unlink()
    done = json.loads(clinic.run(*arguments).stdout)
    assert done["state"] == "installed and verified", done
    assert objects.stat().st_mtime_ns == compiled_at, "the object of the first try was taken"
    assert "'MAX_JOBS': '2'" in seen.read_text()
    assert not (clinic.site / "setuptools").exists(), "what a build needs never goes into the target"
    assert clinic.run("rollback").returncode == 0
    assert snapshot(clinic.venv) == before
    start, runs = time.monotonic(), len(seen.read_text().splitlines())
    assert json.loads(clinic.run(*arguments).stdout)["state"] == "installed and verified"
    assert len(seen.read_text().splitlines()) == runs, f"built again, in {time.monotonic() - start:.1f} s"


@pytest.mark.index
def test_a_bundle_carries_what_a_build_needs(clinic: Clinic) -> None:
    plan = write_plan(clinic, build_step(clinic))
    bag = clinic.folder / "bag"
    unnamed = clinic.run("bundle", str(bag), "--plan", str(plan), target=False)
    assert unnamed.returncode == 2
    assert "--for REPORT.json" in unnamed.stderr
    assert clinic.run("bundle", str(bag), "--plan", str(plan)).returncode == 0
    (step,) = json.loads((bag / "plan.json").read_text())["steps"]
    assert {"setuptools", "ninja"} <= {need["name"] for need in step["needs"]}
    assert all(need["sha256"] for need in step["needs"])
    (clinic.folder / "flash_attn-2.8.3.tar.gz").unlink()
    nowhere = {"PIP_INDEX_URL": "https://127.0.0.1:9", "UV_DEFAULT_INDEX": "https://127.0.0.1:9"}
    clinic.environment |= {"FLASH_DOCTOR_CACHE": str(clinic.folder / "another machine"), **nowhere}
    done = clinic.run("fix", "--yes", "--import-only", "--bundle", str(bag), "--json")
    outcome = json.loads(done.stdout)
    assert outcome["state"] == "installed and verified", done.stderr
    assert "each with its sha256" in outcome["sheet"]["notes"][0]
    assert outcome["sheet"]["changes"][0]["sha256"] == step["sha256"]


@pytest.mark.parametrize("spoiled", ["source", "need"])
def test_nothing_is_compiled_from_another_file_than_was_promised(clinic: Clinic, spoiled: str) -> None:
    setuptools = build_wheel(clinic.wheels, "setuptools", "80", {"setuptools/__init__.py": "raise SystemExit(9)"})
    needs = [install_step("setuptools", "80", setuptools, digest="0" * 64 if spoiled == "need" else "")]
    wrong = {"sha256": "0" * 64} if spoiled == "source" else {}
    plan = write_plan(clinic, build_step(clinic, needs=needs, **wrong))
    before = snapshot(clinic.venv)
    done = clinic.run("fix", "--yes", "--import-only", "--plan", str(plan), "--wheelhouse", str(clinic.wheels))
    assert done.returncode == 4, done.stdout + done.stderr
    assert "exit code 9" not in done.stderr
    assert not (clinic.folder / "seen").exists()
    assert snapshot(clinic.venv) == before


def test_a_source_without_a_published_hash_waits_for_a_word(clinic: Clinic) -> None:
    plan = write_plan(clinic, build_step(clinic, sha256=None, needs=[]))
    for name in ("setuptools", "wheel", "packaging", "ninja", "psutil"):
        build_wheel(clinic.wheels, name, "1", {f"{name}.py": ""})
    done = clinic.run("fix", "--yes", "--offline", "--plan", str(plan), "--wheelhouse", str(clinic.wheels))
    assert done.returncode == 2
    assert "--trust-first-download" in done.stderr


@pytest.mark.index
@pytest.mark.torch
def test_the_real_source_comes_from_the_index_and_is_built(tmp_path: Path, torch_venv: Path) -> None:
    """flash-attn's own sdist beside the real torch; the CUDA code alone is left out, as its setup.py allows."""
    clinic = Clinic(tmp_path, stub=False)
    (torch,) = torch_venv.glob("lib/python3*/site-packages")
    (clinic.site / "torch.pth").write_text(f"{torch}\n")
    settings = {"FLASH_ATTENTION_FORCE_BUILD": "TRUE", "FLASH_ATTENTION_SKIP_CUDA_BUILD": "TRUE", "MAX_JOBS": "1"}
    step = {
        "action": "build", "name": "flash-attn", "requirement": "flash-attn==2.8.3", "because": "no wheel fits",
        "settings": settings, "jobs": 1, "minutes": 1, "memory": 1,
    }  # fmt: skip
    before = snapshot(clinic.venv)
    done = clinic.run("fix", "--yes", "--no-verify", "--plan", str(write_plan(clinic, step)), "--json")
    outcome = json.loads(done.stdout)
    assert outcome["state"] == "installed, not verified", done.stderr
    (change,) = outcome["sheet"]["changes"]
    assert change["source"].endswith("flash_attn-2.8.3.tar.gz")
    assert len(change["sha256"]) == 64
    assert "flash_attn_varlen_func" in (clinic.site / "flash_attn" / "__init__.py").read_text()
    assert clinic.run("rollback").returncode == 0
    assert snapshot(clinic.venv) == before
