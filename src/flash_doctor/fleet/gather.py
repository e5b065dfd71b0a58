"""The doctor as one zip file, to run on nodes that lack it: its own code, the facts, and what `check` imports."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flash_doctor.errors import BadInput
from flash_doctor.facts import default_folder
from flash_doctor.fleet.reading import LOST, MAX_DOCUMENT, parse_document
from flash_doctor.system.bounds import read_json
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.claims import Claimed


# pure Python, so that they run on the node's Python whichever it is; tomli only where the node may need it
NEEDED = ("packaging", "pynvml")
WANTED = ("tomli",)
_SUFFIXES = {".py", ".json", ".toml", ".bin"}
# what a check never reads: lists of wheels, and the stages that change or render
_LEFT_OUT = {"wheels", "stacks", "preflight", "watch", "resolve", "install", "verify", "cli", "schema", "__pycache__"}
_OF_CLI = ("cli/__init__.py", "cli/node.py")  # the one command that a node runs; it needs no typer
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
    yield from ((f"flash_doctor/{name}", own / name) for name in _OF_CLI)
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


STUB = Path(__file__).with_name("on_node.py")
UNREACHABLE = "unreachable: "
_MAX_WHY = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """The same check for every node: `python` is the interpreter to look at, "" for the one it would choose.

    `timeout` is the seconds that one node has; `mark` begins the lines that count, and no node can guess another's.
    """

    python: str = ""
    deep: bool = False
    host_only: bool = False
    timeout: float = 60.0
    mark: str = field(default_factory=lambda: "flash-doctor-" + os.urandom(8).hex())
    shipment: Shipment = field(default_factory=pack)

    @property
    def stub(self) -> str:
        """The script that runs on a node; it gets the shipment on stdin."""
        return STUB.read_text(encoding="utf-8")

    @property
    def arguments(self) -> tuple[str, ...]:
        options = {"python": self.python, "deep": self.deep, "host_only": self.host_only}
        return (self.mark, self.shipment.digest, f"{self.timeout:g}", json.dumps(options))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAnswer:
    """What came back from one node: its output, and why there is no more; times in seconds since 1970, ours."""

    node: str
    sent: float
    received: float
    output: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Gathered:
    """One node and its document: a report with the engine's envelope (`fleet`), or why there is none."""

    node: str
    document: str


class Engine(Protocol):
    """Runs an errand on every live node; each node gives exactly one Answer, within the errand's time."""

    def answers(self, errand: Errand) -> Iterator[NodeAnswer]: ...


def gather(engine: Engine, errand: Errand) -> Iterator[Gathered]:
    """The documents of all nodes, as they come."""
    for answer in engine.answers(errand):
        yield Gathered(answer.node, json.dumps(_document(answer, errand.mark)))


def _document(answer: NodeAnswer, mark: str) -> dict[str, object]:
    told = _told(answer.output, mark)
    if "report" not in told:
        return _lost(answer, str(told.get("failed") or answer.failure or "it answered nothing"))
    try:
        document = parse_document(str(told["report"])).data
    except BadInput as error:
        return _lost(answer, error.message)
    return {**document, "fleet": _envelope(answer, told)}


def _lost(answer: NodeAnswer, why: str) -> dict[str, object]:
    return {"schema": LOST, "fleet": {"node": answer.node}, "why": UNREACHABLE + cut(why, _MAX_WHY)}


def _envelope(answer: NodeAnswer, told: dict[str, object]) -> dict[str, object]:
    """The node's clock against ours: it began after we sent, and had ended before we received."""
    began, ended = told.get("began"), told.get("ended")
    envelope: dict[str, object] = {"node": answer.node, "gathered": answer.received}
    if isinstance(began, float) and isinstance(ended, float) and ended - answer.received <= began - answer.sent:
        envelope["clock"] = {"low": ended - answer.received, "high": began - answer.sent}
    return envelope


def _told(output: str, mark: str) -> dict[str, object]:
    """The values of the marked lines; programs on the node may have printed others between them."""
    told: dict[str, object] = {}
    for line in output.split(f"\n@@{mark} ")[1:]:
        kind, _, value = line.partition("\n")[0][: 2 * MAX_DOCUMENT].partition(" ")
        try:
            told[kind] = _accept(read_json(value, limit=2 * MAX_DOCUMENT))
        except ValueError:
            continue
    return told


def _accept(claim: Claimed[Any]) -> object:
    """As it is: a time is used when it is one, a document is read again as a claim (`reading`)."""
    return claim.unproved()
