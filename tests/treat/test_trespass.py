"""What is not the target's own stays: files that a RECORD claims, files behind links, files of other packages."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from clinic import DOCTOR, LABEL, TAG, Clinic, sha256
from flash_doctor.install.context import choose_installer
from flash_doctor.install.installers import LocalWheel
from flash_doctor.install.staging import stage
from flash_doctor.model import Target
from flash_doctor.system.process import Command, Completed, SystemRunner
from trees import snapshot
from wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path


PARTS = ("flash_attn/bert_padding.py", "flash_attn/layers/__init__.py", "flash_attn/layers/rotary.py")


def test_a_record_that_claims_foreign_files_takes_none_of_them(clinic: Clinic) -> None:
    clinic.flash("2.8.1")
    clinic.einops()
    assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
    foreign, behind = clinic.folder / "foreign.txt", clinic.folder / "behind"
    foreign.write_text("mine")
    behind.mkdir()
    (behind / "file.py").write_text("mine")
    (clinic.site / "link").symlink_to(behind)
    (clinic.site / "odd").mkdir()
    (clinic.site / "odd" / "__pycache__").mkdir()
    (clinic.site / "odd" / "__pycache__" / "other.cpython-311.pyc").touch()
    claims = ["../../../../foreign.txt", str(foreign), "torch", ".", "", "link/file.py", "odd/**.py", "odd/*.py"]
    record = clinic.site / "flash_attn-2.8.1.dist-info" / "RECORD"
    record.write_text(record.read_text() + "".join(f"{claim},,\n" for claim in claims))
    clinic.flash("2.8.3")
    done = clinic.fix("--want", "flash-attn==2.8.3")
    assert done.returncode == 0, done.stderr
    assert "2.8.3" in (clinic.site / "flash_attn" / "__init__.py").read_text()
    assert foreign.read_text() == (behind / "file.py").read_text() == "mine"
    assert (clinic.site / "torch" / "__init__.py").exists()
    assert list((clinic.site / "odd" / "__pycache__").iterdir())


def flash_with(clinic: Clinic, files: dict[str, bytes | str]) -> None:
    """A pure flash-attn 2.8.3 that brings more than its own."""
    own = {"flash_attn/__init__.py": "__version__ = '2.8.3'\n", **dict.fromkeys(PARTS, "")}
    build_wheel(
        clinic.wheels, "flash-attn", "2.8.3" + LABEL, {**own, **files}, tag=TAG, metadata_version="2.8.3",
        requires=("torch", "einops"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torch/version.py", "of torch would be overwritten"),
        ("flash_attn-2.8.3.data/data/pyvenv.cfg", "belongs to no package that is replaced"),
        ("flash_attn-2.8.3.data/scripts/activate", "belongs to no package that is replaced"),
        ("torch/lib", "a file would take its place"),
        (".flash-doctor/20200101T000000-000000-1/journal.json", "a place of flash-doctor's own"),
        ("flash_attn/.flash-doctor/old/0", "a place of flash-doctor's own"),
        ("flash_attn-2.8.3.data/data/.flash-doctor/x", "a place of flash-doctor's own"),
    ],
)
def test_a_wheel_that_would_overwrite_what_is_not_its_own_is_refused(clinic: Clinic, name: str, words: str) -> None:
    clinic.einops()
    (clinic.venv / "bin" / "activate").write_text("mine")
    before = snapshot(clinic.venv)
    flash_with(clinic, {name: "__version__ = 'evil'\n"})
    done = clinic.fix()
    assert done.returncode == 4, done.stdout
    assert words in done.stderr
    assert snapshot(clinic.venv) == before


@pytest.mark.parametrize("installer", ["uv", "pip"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("../../../../../escaped.py", ""),
        ("/tmp/escaped.py", ""),
        ("flash_attn-2.8.3.data/scripts/../../../escaped.py", ""),
        (
            "flash_attn-2.8.3.dist-info/entry_points.txt",
            "[console_scripts]\n../../../../../escaped = flash_attn:x\n",
        ),
    ],
)
def test_a_wheel_whose_names_lead_elsewhere_is_refused(clinic: Clinic, installer: str, name: str, text: str) -> None:
    clinic.einops()
    flash_with(clinic, {name: text})
    assert clinic.venv.exists()
    before = snapshot(clinic.folder)
    done = clinic.fix("--installer", installer)
    assert done.returncode == 4, done.stdout
    assert "wants to write outside of the environment" in done.stderr
    assert snapshot(clinic.folder) == before


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_pip_conf_of_the_environment_sends_nothing_elsewhere(clinic: Clinic, installer: str) -> None:
    """pip works in the target's interpreter, whose prefix is a place of settings that --isolated still reads."""
    clinic.flash()
    clinic.einops()
    outside = clinic.folder / "outside"
    settings = f"[global]\nlog = {outside}/log\n[install]\nroot = {outside}/root\ntarget = {outside}/target\n"
    (clinic.venv / "pip.conf").write_text(settings)
    done = clinic.fix("--installer", installer)
    assert done.returncode == 0, done.stderr
    assert not outside.exists()


def test_a_package_folder_that_is_a_link_to_a_checkout_is_left_alone(clinic: Clinic) -> None:
    clinic.flash()
    clinic.einops()
    checkout = clinic.folder / "checkout"
    checkout.mkdir()
    (checkout / "__init__.py").write_text("mine")
    (clinic.site / "flash_attn").symlink_to(checkout)
    done = clinic.fix()
    assert done.returncode == 4
    assert "leads out of the target by a link" in done.stderr
    assert {path.name: path.read_text() for path in checkout.iterdir()} == {"__init__.py": "mine"}


def test_rollback_in_a_copy_of_an_environment_leaves_the_original(clinic: Clinic) -> None:
    clinic.flash()
    clinic.einops()
    before = snapshot(clinic.venv)
    assert clinic.fix().returncode == 0
    after = snapshot(clinic.venv)
    copy = clinic.folder / "copy of it"
    shutil.copytree(clinic.venv, copy, symlinks=True)
    done = clinic.run("rollback", "--python", str(copy), target=False)
    assert done.returncode == 0, done.stderr
    assert snapshot(clinic.venv) == after
    assert snapshot(copy) == before


def test_a_link_with_the_name_of_our_folder_is_not_followed(clinic: Clinic) -> None:
    clinic.flash()
    clinic.einops()
    (clinic.folder / "elsewhere" / "deep").mkdir(parents=True)
    (clinic.folder / "elsewhere" / "deep" / "file").write_text("mine")
    (clinic.site / ".flash-doctor").symlink_to(clinic.folder / "elsewhere")
    for done in (clinic.fix(), clinic.run("rollback")):
        assert done.returncode == 2
        assert "is a file or a link" in done.stderr
    assert (clinic.folder / "elsewhere" / "deep" / "file").read_text() == "mine"


@pytest.mark.parametrize("seconds", ["0", "-5", "nan"])
def test_a_proof_needs_time(clinic: Clinic, seconds: str) -> None:
    refused = clinic.run("verify", "--timeout", seconds)
    assert refused.returncode == 2
    assert "--timeout" in refused.stderr


def test_nohup_is_respected(clinic: Clinic) -> None:
    clinic.flash(more=f"import time; open({str(clinic.folder / 'begun')!r}, 'w').close(); time.sleep(1)")
    clinic.einops()
    own = [str(DOCTOR), "fix", "--yes", "--wheelhouse", str(clinic.wheels), "--offline", "--import-only"]
    process = subprocess.Popen(
        ["nohup", *own, "--python", str(clinic.venv)], env=clinic.environ(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    while not (clinic.folder / "begun").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 0, told


def test_a_package_with_metadata_inside_of_it_is_one_package(clinic: Clinic) -> None:
    clinic.einops()
    flash_with(clinic, {"flash_attn/_vendor/inner-1.0.dist-info/METADATA": "Name: inner\n"})
    done = clinic.fix("--json")
    assert json.loads(done.stdout)["state"] == "installed and verified", done.stdout


class Splitting(SystemRunner):
    """As on a system whose Python keeps compiled packages in lib64: half of what uv unpacked lies there."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix

    def run(self, command: Command) -> Completed:
        done = super().run(command)
        (site,) = self.prefix.glob("lib/python*/site-packages")
        other = self.prefix / "lib64" / site.relative_to(self.prefix / "lib")
        other.mkdir(parents=True)
        for path in list(site.glob("einops*")):
            path.rename(other / path.name)
        return done


def test_a_system_with_two_package_folders_gets_one(clinic: Clinic) -> None:
    wheels = [
        LocalWheel(path=path, name=name, sha256=sha256(path), url="https://example.invalid/x.whl")
        for name, path in (("flash-attn", clinic.flash()), ("einops", clinic.einops()))
    ]
    folder = clinic.folder / "staging"
    prefix = stage(
        wheels,
        folder,
        Target(python=clinic.venv / "bin" / "python", why="test"),
        choose_installer("uv"),
        Splitting(folder / "stage"),
    )
    found = list(prefix.rglob("*.dist-info"))
    assert (len(found), len({path.parent for path in found})) == (2, 1)
    assert (found[0].parent / "einops" / "__init__.py").exists()
