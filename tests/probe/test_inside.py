"""Real environments read by inside.py in their own interpreter and parsed by packages.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.version import Version

from flash_doctor.model import Absent, Package, Packages, Python, PythonKind, RecordCheck, Target, Unknown
from flash_doctor.probe import RECORDED, start_inside
from flash_doctor.probe.packages import binary_owners, read_packages, read_python
from flash_doctor.system.process import SystemRunner
from sites import install, site_of
from trees import snapshot


class Patient:
    """What was read of one environment."""

    def __init__(self, python: Path, *, deep: bool = False) -> None:
        script = start_inside(Target(python=python, why="test"), SystemRunner(), RECORDED, deep=deep)
        self.raw = script.answer()
        self.packages: Packages = read_packages(self.raw)
        self.python: Python = read_python(self.raw, self.packages)

    def __getitem__(self, name: str) -> Package:
        package = self.packages.find(name)
        assert package is not None, f"{name} is not among {[found.name for found in self.packages.distributions]}"
        return package

    def record(self, name: str) -> RecordCheck:
        record = self[name].record
        assert isinstance(record, RecordCheck), record
        return record


def read(venv: Path, *, deep: bool = False) -> Patient:
    return Patient(venv / "bin" / "python", deep=deep)


def test_the_interpreter_describes_itself(venv: Path) -> None:
    python = read(venv).python
    assert python.version == Version(sys.version.split()[0])
    assert python.kind is PythonKind.VENV
    assert python.executable == venv / "bin" / "python"
    assert (python.prefix, python.base_prefix) == (venv, Path(sys.base_prefix))
    assert python.site_packages == (site_of(venv),)
    assert python.writable
    assert isinstance(python.user_site, Absent)
    assert isinstance(python.managed, Absent)
    assert isinstance(python.pip, Absent)


def test_tags_and_markers_are_those_of_packaging(venv: Path) -> None:
    from packaging.markers import default_environment
    from packaging.tags import sys_tags

    python = read(venv).python
    assert dict(python.markers) == default_environment()
    first = next(iter(sys_tags()))
    assert python.abi == first.abi
    assert python.platform in {tag.platform for tag in sys_tags()}


def test_an_empty_environment_has_no_distributions(venv: Path) -> None:
    assert read(venv).packages == Packages(distributions=(), leftovers=(), broken=())


def test_nothing_is_written_into_the_target(venv: Path) -> None:
    install(site_of(venv), "torch", "2.9.0", files={"torch/__init__.py": "import torch.code\n"})
    before = snapshot(venv)
    read(venv, deep=True)
    assert snapshot(venv) == before


def test_a_distribution_is_read_whole(venv: Path) -> None:
    header = "Requires-Dist: torch (>=2.2)\nRequires-Dist: einops\nRequires-Python: >=3.9\nClassifier: A :: B\n"
    install(
        site_of(venv),
        "Flash_Attn",
        "2.8.3+cu12torch2.8cxx11abiTRUE",
        header=header,
        files={"flash_attn/__init__.py": "", "flash_attn_2_cuda.so": b"\x7fELF"},
        info={
            "INSTALLER": "uv\n",
            "WHEEL": "Wheel-Version: 1.0\nTag: cp312-cp312-linux_x86_64\nTag: cp312-cp312-linux_aarch64\n",
            "top_level.txt": "flash_attn\nflash_attn_2_cuda\n",
            "direct_url.json": json.dumps({"url": "https://me:secret@example.org/f.whl", "archive_info": {}}),
        },
    )
    patient = read(venv)
    package = patient["flash-attn"]
    assert package.version == Version("2.8.3+cu12torch2.8cxx11abiTRUE")
    assert package.raw_version == "2.8.3+cu12torch2.8cxx11abiTRUE"
    assert package.requires == ("torch (>=2.2)", "einops")
    assert package.requires_python == ">=3.9"
    assert package.installer == "uv"
    assert package.tags == ("cp312-cp312-linux_x86_64", "cp312-cp312-linux_aarch64")
    assert package.top_level == ("flash_attn", "flash_attn_2_cuda")
    assert package.url == "https://***@example.org/f.whl"
    assert not package.editable
    assert patient.record("flash-attn") == RecordCheck(files=8, missing=(), changed=(), hashed=False)
    assert binary_owners(patient.raw) == {site_of(venv) / "flash_attn_2_cuda.so": "flash-attn"}


def test_record_finds_missing_and_changed_files(venv: Path) -> None:
    site = site_of(venv)
    files: dict[str, str | bytes] = {
        "torch/a.py": "one",
        "torch/lib/b,c.so": b"binary",
        "torch/gone/d.py": "x",
        "torch/e.pyc": "y",
    }
    install(site, "torch", "2.9.0", files=files)
    (site / "torch" / "a.py").write_text("another size")
    (site / "torch" / "lib" / "b,c.so").write_bytes(b"BINARY")
    (site / "torch" / "e.pyc").unlink()
    shutil.rmtree(site / "torch" / "gone")
    record = read(venv).record("torch")
    assert record.missing == ("torch/gone/d.py",)
    assert record.changed == ("torch/a.py",)
    deep = read(venv, deep=True).record("torch")
    assert set(deep.changed) == {"torch/a.py", "torch/lib/b,c.so"}
    assert deep.hashed


def test_record_is_compared_for_companions_only(venv: Path) -> None:
    site = site_of(venv)
    install(site, "requests", "2.0", files={"requests.py": ""})
    install(site, "nvidia-nccl-cu12", "2.21.5", files={"nvidia/nccl/lib/libnccl.so.2": "x"})
    install(site, "triton", "3.0", record=False)
    patient = read(venv)
    assert isinstance(patient["requests"].record, Unknown)
    assert patient.record("nvidia-nccl-cu12").files == 3
    assert isinstance(patient["triton"].record, Absent)


def test_editable_installs_of_both_kinds(venv: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    url = {"url": project.as_uri(), "dir_info": {"editable": True}}
    install(site_of(venv), "modern", "1.0", info={"direct_url.json": json.dumps(url)})
    (project / "old.egg-info").mkdir(parents=True)
    (project / "old.egg-info" / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old\nVersion: 0.1\n")
    (project / "old.egg-info" / "requires.txt").write_text("numpy>=1\n\n[:python_version<'3.8']\nx\n\n[gpu]\ncupy\n")
    (site_of(venv) / "old.egg-link").write_text(f"{project}\n.")
    (site_of(venv) / "easy-install.pth").write_text(f"{project}\n")
    patient = read(venv)
    assert patient["modern"].editable
    assert patient["modern"].url == project.as_uri()
    assert patient["old"].editable
    assert patient["old"].location == project
    assert patient["old"].requires == ("numpy>=1", "x; (python_version<'3.8')", 'cupy; extra == "gpu"')


def test_a_real_egg_info_file_and_an_egg_on_the_path(venv: Path) -> None:
    site = site_of(venv)
    (site / "distutils_made-1.0.egg-info").write_text("Metadata-Version: 1.0\nName: distutils-made\nVersion: 1.0\n")
    (site / "zipped-2.0-py3.egg" / "EGG-INFO").mkdir(parents=True)
    (site / "zipped-2.0-py3.egg" / "EGG-INFO" / "PKG-INFO").write_text("Name: zipped\nVersion: 2.0\n")
    (site / "easy-install.pth").write_text("./zipped-2.0-py3.egg\n")
    patient = read(venv)
    assert patient["distutils-made"].version == Version("1.0")
    assert patient["zipped"].version == Version("2.0")


def broken_site(site: Path) -> None:
    (site / "~orch").mkdir()
    (site / "~orch-2.1.0.dist-info").mkdir()
    (site / "empty-1.0.dist-info").mkdir()
    install(site, "nameless", "1.0")
    (site / "nameless-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\n\n")
    install(site, "latin", "1.0")
    (site / "latin-1.0.dist-info" / "METADATA").write_bytes(b"Name: latin\nVersion: 1.0\nAuthor: J\xf6rg\xff\n\n")
    install(site, "odd", "not-a-version!", info={"direct_url.json": "[]"})
    install(site, "folded", "1.0", header="Requires-Dist: torch\n  >=2\n")


def test_what_is_broken_is_told_and_hides_nothing(venv: Path) -> None:
    broken_site(site_of(venv))
    patient = read(venv)
    assert {path.name for path in patient.packages.leftovers} == {"~orch", "~orch-2.1.0.dist-info"}
    assert {(item.path.name, item.why) for item in patient.packages.broken} == {
        ("empty-1.0.dist-info", "has no METADATA"),
        ("nameless-1.0.dist-info", "cannot be read: its metadata give no name"),
    }
    assert patient["latin"].version == Version("1.0")
    assert isinstance(patient["odd"].version, Unknown)
    assert isinstance(patient["odd"].url, Unknown)
    assert patient["folded"].requires == ("torch >=2",)


def test_copies_are_told_in_the_order_of_the_path(venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site_of(venv), "torch", "2.9.0")
    install(site_of(venv), "torch", "2.1.0")
    install(tmp_path / "first", "torch", "2.5.0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "first"))
    patient = read(venv)
    assert [copy.raw_version for copy in patient.packages.copies("torch")] == ["2.5.0", "2.1.0", "2.9.0"]
    assert patient.python.pythonpath == (tmp_path / "first",)


def test_a_user_site_shadows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "home"))
    site = Path(
        subprocess.check_output([base, "-c", "import site; print(site.getusersitepackages())"], text=True).strip()
    )
    install(site, "torch", "2.0.0")
    patient = Patient(base)
    assert patient.python.kind is PythonKind.SYSTEM
    assert patient.python.user_site == site
    assert patient["torch"].in_user_site
    assert patient["torch"].location == site


def test_a_link_to_the_same_folder_counts_once(venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site_of(venv), "torch", "2.9.0")
    (tmp_path / "same").symlink_to(site_of(venv))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "same"))
    assert len(read(venv).packages.copies("torch")) == 1


def test_a_conda_prefix_and_an_externally_managed_one(tmp_path: Path) -> None:
    """A Python that was copied into a prefix of its own, as conda's are."""
    prefix = tmp_path / "conda"
    name = f"python3.{sys.version_info.minor}"
    library = prefix / "lib" / name
    (prefix / "bin").mkdir(parents=True)
    (prefix / "conda-meta").mkdir()
    shutil.copy(Path(sys.base_prefix) / "bin" / name, prefix / "bin" / "python")
    library.mkdir(parents=True)
    for entry in (Path(sys.base_prefix) / "lib" / name).iterdir():
        if entry.name != "site-packages":
            (library / entry.name).symlink_to(entry)
    for shared in (Path(sys.base_prefix) / "lib").glob("libpython*"):
        (prefix / "lib" / shared.name).symlink_to(shared)
    (library / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=Ask your administrator.\n")
    install(library / "site-packages", "torch", "2.5.1", info={"INSTALLER": "conda"})
    patient = Patient(prefix / "bin" / "python")
    assert patient.python.prefix == prefix
    assert patient.python.kind is PythonKind.CONDA
    assert isinstance(patient.python.managed, str)
    assert "Ask your administrator" in patient.python.managed
    assert patient["torch"].installer == "conda"


def test_a_venv_made_by_uv(tmp_path: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("uv is not installed beside this Python")
    folder = tmp_path / "uv"
    subprocess.run([uv, "venv", "--quiet", "--offline", "--python", sys.executable, folder], check=True)
    patient = read(folder)
    assert patient.python.kind is PythonKind.VENV
    assert patient.packages.distributions == ()


def test_ten_thousand_distributions_are_bounded(venv: Path) -> None:
    site = site_of(venv)
    for number in range(10_000):
        folder = site / f"package_{number}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: package-{number}\nVersion: 1.{number}\nRequires-Dist: torch\n\n")
    begun = time.monotonic()
    assert len(read(venv).packages.distributions) == 10_000
    # a bound against falling off a cliff, not a measurement
    assert time.monotonic() - begun < 30


def test_metadata_that_cannot_be_read_are_broken(venv: Path) -> None:
    folder = install(site_of(venv), "closed", "1.0")
    (folder / "METADATA").unlink()
    (folder / "METADATA").mkdir()
    (found,) = read(venv).packages.broken
    assert found.path == folder
    assert found.why.startswith("cannot be read")
