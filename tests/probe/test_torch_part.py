"""torch and FlashAttention as they lie on a disk: real files in a real venv, nothing imported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from flash_doctor.model import Absent, FlashAttention, FlashKind, Part, Target, Torch, Unknown
from flash_doctor.probe import RECORDED, start_inside
from flash_doctor.probe.compose import Parts, TargetParts, read_patient
from flash_doctor.probe.start import Inquiry
from flash_doctor.system.process import SystemRunner
from sites import install, site_of

if TYPE_CHECKING:
    from pathlib import Path

VERSION = """\
from typing import Optional

__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']
__version__ = '{version}'
debug = False
cuda: Optional[str] = {cuda!r}
git_version = 'cf30153c'
hip: Optional[str] = {hip!r}
raise SystemExit("this file must not be run")
"""
LOUD = "raise SystemExit('nothing of the target is imported')\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, away from everything."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def read(venv: Path) -> TargetParts:
    script = start_inside(Target(python=venv / "bin" / "python", why="test"), SystemRunner(), RECORDED, deep=False)
    return read_patient(Inquiry(script, lambda manner: script), {}, None, Parts({}), SystemRunner())


def with_torch(site: Path, version: str, cuda: str | None = "12.8", hip: str | None = None) -> Path:
    text = VERSION.format(version=version, cuda=cuda, hip=hip)
    files = {"torch/__init__.py": LOUD, "torch/version.py": text, "torch/lib/libc10.so": "", "torch/lib/x.txt": ""}
    install(site, "torch", version, files=files)
    return site / "torch"


def torch_of(venv: Path) -> Torch:
    torch = read(venv).torch
    assert isinstance(torch, Torch), torch
    return torch


def flash_of(venv: Path) -> FlashAttention:
    flash = read(venv).flash
    assert isinstance(flash, FlashAttention), flash
    return flash


@pytest.mark.usefixtures("here")
class TestTorch:
    def test_a_cuda_build(self, venv: Path) -> None:
        folder = with_torch(site_of(venv), "2.9.0+cu128")
        torch = torch_of(venv)
        assert torch.version == Version("2.9.0+cu128")
        assert torch.location == folder
        assert torch.cuda == Version("12.8")
        assert torch.git == "cf30153c"
        assert isinstance(torch.hip, Absent)
        assert isinstance(torch.vendor, Absent)
        assert isinstance(torch.cxx11abi, Unknown)
        assert torch.libraries == ("libc10.so",)

    def test_cpu_and_rocm_builds(self, venv: Path) -> None:
        with_torch(site_of(venv), "2.9.0+rocm6.4", cuda=None, hip="6.4.43482")
        torch = torch_of(venv)
        assert isinstance(torch.cuda, Absent)
        assert torch.hip == "6.4.43482"

    @pytest.mark.parametrize(
        ("version", "vendor"),
        [
            ("2.7.0a0+79aa17489c.nv25.04", "NVIDIA"),
            ("2.3.0+nv24.05", "NVIDIA"),
            ("2.10.0a0+git1234567", "a build from a source tree"),
            ("2.10.0.dev20251101+cu130", Absent(absent="the version has no vendor's mark")),
        ],
    )
    def test_vendor_builds(self, venv: Path, version: str, vendor: Part[str]) -> None:
        with_torch(site_of(venv), version)
        assert torch_of(venv).vendor == vendor

    def test_none(self, venv: Path) -> None:
        assert isinstance(read(venv).torch, Absent)

    def test_a_damaged_one_keeps_its_version(self, venv: Path) -> None:
        (with_torch(site_of(venv), "2.9.0") / "__init__.py").unlink()
        assert torch_of(venv).version == Version("2.9.0")

    @pytest.mark.parametrize("text", ["", "__version__ = compute()\n", "__version__ = '2.\n", "\0"])
    def test_a_version_file_without_a_version(self, venv: Path, text: str) -> None:
        (with_torch(site_of(venv), "2.9.0") / "version.py").write_text(text)
        assert isinstance(read(venv).torch, Unknown)

    def test_a_source_tree_installed_editable(self, venv: Path, tmp_path: Path) -> None:
        project = tmp_path / "a project"
        with_torch(project, "2.10.0a0+git1")
        url = {"url": project.as_uri(), "dir_info": {"editable": True}}
        install(site_of(venv), "torch", "2.10.0a0+git1", info={"direct_url.json": json.dumps(url)})
        assert torch_of(venv).location == project / "torch"

    def test_pythonpath_comes_first(self, venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with_torch(site_of(venv), "2.9.0")
        with_torch(tmp_path / "other", "2.1.0")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
        assert torch_of(venv).version == Version("2.1.0")


class TestFlashAttention:
    def test_none(self, venv: Path, here: Path) -> None:
        assert isinstance(read(venv).flash, Absent)

    def test_two_with_its_parts_and_their_owners(self, venv: Path, here: Path) -> None:
        site = site_of(venv)
        binary = "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so"
        files: dict[str, str | bytes] = {"flash_attn/__init__.py": f'__version__ = "2.8.3"\n{LOUD}', binary: b"\x7fELF"}
        install(site, "flash-attn", "2.8.3", files=files)
        (site / "dropout_layer_norm.cpython-312-x86_64-linux-gnu.so").write_bytes(b"")
        (site / "flash_attn_2_cuda.txt").write_text("")
        flash = flash_of(venv)
        (module,) = flash.modules
        assert (module.kind, module.name, module.version) == (FlashKind.FA2, "flash_attn", Version("2.8.3"))
        assert module.in_site_packages
        assert [path.name.partition(".")[0] for path in flash.extensions] == ["dropout_layer_norm", "flash_attn_2_cuda"]
        assert flash.owners == {str(site / binary): "flash-attn"}
        assert [package.name for package in flash.packages] == ["flash-attn"]

    def test_one_is_told_by_version_or_extension(self, venv: Path, here: Path) -> None:
        site = site_of(venv)
        (site / "flash_attn").mkdir()
        (site / "flash_attn" / "__init__.py").write_text("")
        assert flash_of(venv).modules[0].kind is FlashKind.FA2
        (site / "flash_attn_cuda.cpython-310-x86_64-linux-gnu.so").write_text("")
        assert flash_of(venv).modules[0].kind is FlashKind.FA1
        (site / "flash_attn" / "__init__.py").write_text("__version__ = '2.3.6'\n")
        assert flash_of(venv).modules[0].kind is FlashKind.FA2

    def test_three_in_both_layouts(self, venv: Path, here: Path) -> None:
        files: dict[str, str | bytes] = {"flash_attn_interface.py": "", "flash_attn_3/_C.abi3.so": b""}
        install(site_of(venv), "flash_attn_3", "3.0.0b1", files=files)
        flash = flash_of(venv)
        assert [(module.name, module.kind) for module in flash.modules] == [("flash_attn_interface", FlashKind.FA3)]
        assert [path.name for path in flash.extensions] == ["_C.abi3.so"]
        assert list(flash.owners.values()) == ["flash-attn-3"]

    def test_four_beside_two_and_alone(self, venv: Path, here: Path) -> None:
        site = site_of(venv)
        computed = 'from importlib.metadata import version\n__version__ = version("flash-attn-4")\n'
        install(site, "flash-attn-4", "4.0.0b4", files={"flash_attn/cute/__init__.py": computed})
        (alone,) = flash_of(venv).modules
        assert (alone.name, alone.kind) == ("flash_attn.cute", FlashKind.FA4)
        assert isinstance(alone.version, Unknown)
        install(site, "flash-attn", "2.8.3", files={"flash_attn/__init__.py": "__version__ = '2.8.3'\n"})
        flash = flash_of(venv)
        assert [module.kind for module in flash.modules] == [FlashKind.FA2, FlashKind.FA4]
        assert {package.name for package in flash.packages} == {"flash-attn", "flash-attn-4"}

    def test_metadata_without_a_module(self, venv: Path, here: Path) -> None:
        install(site_of(venv), "flash-attn", "2.8.3")
        flash = flash_of(venv)
        assert len(flash.packages) == 1
        assert not flash.modules
        assert not flash.extensions

    def test_a_checkout_in_the_current_folder_shadows(self, venv: Path, here: Path) -> None:
        install(site_of(venv), "flash-attn", "2.8.3", files={"flash_attn/__init__.py": "__version__ = '2.8.3'\n"})
        (here / "flash_attn").mkdir()
        assert len(flash_of(venv).modules) == 1  # a bare folder shadows nothing
        (here / "flash_attn" / "__init__.py").write_text("__version__ = '2.5.0'\n")
        first, second = flash_of(venv).modules
        assert (first.path, first.in_site_packages) == (here / "flash_attn", False)
        assert (second.version, second.in_site_packages) == (Version("2.8.3"), True)

    def test_an_editable_checkout(self, venv: Path, here: Path, tmp_path: Path) -> None:
        project = tmp_path / "flash-attention"
        (project / "flash_attn").mkdir(parents=True)
        (project / "flash_attn" / "__init__.py").write_text("__version__ = '2.9.0'\n")
        (project / "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so").write_text("")
        url = {"url": project.as_uri(), "dir_info": {"editable": True}}
        install(site_of(venv), "flash-attn", "2.9.0", info={"direct_url.json": json.dumps(url)})
        flash = flash_of(venv)
        assert flash.modules[0].path == project / "flash_attn"
        assert len(flash.extensions) == 1
