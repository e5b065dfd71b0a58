"""Ways in which people break a torch installation, done to a cheap copy of a real one.

The copy is a tree of links; what a break changes is made its own first, so that the original stays as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from sites import install, site_of

Break = Callable[[Path], None]
BREAKS: dict[str, Break] = {}


def copy_of(venv: Path, folder: Path) -> Path:
    """A virtual environment in `folder` whose packages are links into `venv`."""
    site = folder / site_of(venv).relative_to(venv)
    site.mkdir(parents=True)
    (folder / "bin").mkdir()
    _link_all(venv / "bin", folder / "bin")
    shutil.copy(venv / "pyvenv.cfg", folder / "pyvenv.cfg")
    _link_all(site_of(venv), site)
    return folder


def _link_all(source: Path, folder: Path) -> None:
    for entry in source.iterdir():
        (folder / entry.name).symlink_to(entry)


def own(path: Path) -> Path:
    """Make every linked folder above `path` a real one of the copy's; `path` itself may then be replaced."""
    for folder in reversed(path.parents):
        if folder.is_symlink() and folder.is_dir() and "site-packages" in folder.parts:
            source = folder.readlink()
            folder.unlink()
            folder.mkdir()
            _link_all(source, folder)
    return path


def replace(path: Path, content: bytes | str) -> None:
    own(path).unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def metadata_of(site: Path) -> Path:
    return next(site.glob("torch-*.dist-info"))


def way(function: Break) -> Break:
    BREAKS[function.__name__] = function
    return function


@way
def library_missing(site: Path) -> None:
    """An anti-virus program, a full disk or an interrupted copy took a library."""
    own(site / "torch" / "lib" / "libtorch_cpu.so").unlink()


@way
def library_truncated(site: Path) -> None:
    """The disk was full while pip unpacked."""
    library = site / "torch" / "lib" / "libc10.so"
    with library.open("rb") as stream:
        head = stream.read(4096)
    replace(library, head)


@way
def version_missing(site: Path) -> None:
    own(site / "torch" / "version.py").unlink()


@way
def init_missing(site: Path) -> None:
    """Half uninstalled: the folder is only a namespace now."""
    own(site / "torch" / "__init__.py").unlink()


@way
def metadata_folder_missing(site: Path) -> None:
    metadata_of(site).unlink()


@way
def module_missing(site: Path) -> None:
    """Someone removed the folder by hand; pip still lists torch."""
    (site / "torch").unlink()


@way
def metadata_file_missing(site: Path) -> None:
    own(metadata_of(site) / "METADATA").unlink()


@way
def second_copy(site: Path) -> None:
    """An old dist-info stayed behind: pip lists two torches."""
    install(site, "torch", "2.1.0")


@way
def interrupted_uninstall(site: Path) -> None:
    """pip moves to `~orch` what it removes, and was killed."""
    (site / "torch").rename(site / "~orch")
    metadata_of(site).rename(site / "~orch-2.1.0.dist-info")


@way
def record_missing(site: Path) -> None:
    own(metadata_of(site) / "RECORD").unlink()


@way
def vendor_build(site: Path) -> None:
    """What NVIDIA's containers bring: not broken, but not to be touched."""
    text = "__version__ = '2.7.0a0+79aa17489c.nv25.04'\ncuda: str = '12.9'\ngit_version = '79aa17489c'\nhip = None\n"
    replace(site / "torch" / "version.py", text)


@way
def companion_of_another_torch(site: Path) -> None:
    install(
        site, "torchvision", "0.16.0", header="Requires-Dist: torch==2.1.0\n", files={"torchvision/__init__.py": ""}
    )


@way
def flash_without_module(site: Path) -> None:
    """pip lists flash-attn, its folder is gone."""
    install(site, "flash-attn", "2.8.3", header="Requires-Dist: torch\nRequires-Dist: einops\n")


@way
def flash_of_another_python(site: Path) -> None:
    """A wheel unpacked by hand for another Python."""
    install(
        site,
        "flash-attn",
        "2.8.3",
        files={
            "flash_attn/__init__.py": '__version__ = "2.8.3"\n',
            "flash_attn_2_cuda.cpython-39-x86_64-linux-gnu.so": b"\x7fELF",
        },
        info={"WHEEL": "Wheel-Version: 1.0\nTag: cp39-cp39-linux_x86_64\n"},
    )
