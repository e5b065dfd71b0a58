"""The doctor as one zip file, to run on nodes that lack it: its own code, the facts, and what `check` imports."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.facts import default_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

# pure Python, so that they run on the node's Python whichever it is; tomli only where the node may need it
NEEDED = ("packaging", "pynvml")
WANTED = ("tomli",)
_SUFFIXES = {".py", ".json", ".toml", ".bin"}
# what a check never reads: lists of wheels, and the stages that change or render
_LEFT_OUT = {"wheels", "stacks", "preflight", "resolve", "install", "treat", "verify", "cli", "schema", "__pycache__"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Shipment:
    """The zip file's bytes and their SHA-256: equal files give equal bytes, so a node unpacks each version once."""

    data: bytes
    digest: str


def pack() -> Shipment:
    """The running doctor, packed.

    Raises:
        BadInput: a module that a check needs is not pure Python here.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(_files()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED)
    data = target.getvalue()
    return Shipment(data, hashlib.sha256(data).hexdigest())


def _files() -> Iterator[tuple[str, Path]]:
    own = Path(__file__).parents[1]
    facts = default_folder()
    yield from _tree(own, "flash_doctor", facts)
    yield from _tree(facts, "flash_doctor/wheel_matrix")
    for name in NEEDED:
        found = list(_module(name))
        if not found:
            message = f"the module {name} cannot be shipped to the nodes: it is not installed as Python source"
            raise BadInput(message, advice="Install flash-doctor again with pip.")
        yield from found
    for name in WANTED:
        yield from _module(name)


def _tree(folder: Path, prefix: str, without: Path | None = None) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        wanted = path.suffix in _SUFFIXES and not _LEFT_OUT & set(inside.parts[:-1])
        if wanted and not (without and path.is_relative_to(without)):
            yield f"{prefix}/{inside.as_posix()}", path


def _module(name: str) -> Iterator[tuple[str, Path]]:
    """The source of a module or package; nothing where it is not there, or compiled."""
    spec = importlib.util.find_spec(name)
    origin = Path(spec.origin) if spec and spec.origin else None
    if origin is None or origin.suffix != ".py":
        return
    if origin.name != "__init__.py":
        yield f"{name}.py", origin
    elif not any(path.suffix == ".so" for path in origin.parent.rglob("*")):
        yield from _tree(origin.parent, name)
