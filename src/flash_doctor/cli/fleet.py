"""Compare the nodes of a joint run, and name the odd ones."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.errors import emit, write_file
from flash_doctor.cli.options import DeepOption, HostOnlyOption, JsonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY, BadInput
from flash_doctor.model.fleet import Comparison, FleetVerdict
from flash_doctor.system.redact import Redacted, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.fleet.gather import Engine, Gathered
    from flash_doctor.model.fleet import Lost, Node
    from flash_doctor.system.process import Runner

TIMEOUT, DEEP_TIMEOUT = 60.0, 900.0  # seconds; --deep reads gigabytes

Against = Annotated[
    Path | None,
    typer.Option("--against", metavar="REPORT", help="Compare every node with this known good node's report."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 6 if anything could not be compared.")]
Prometheus = Annotated[
    Path | None,
    typer.Option("--prometheus", metavar="FILE", help="Write metrics for the node exporter's textfile collector, too."),
]


Address = Annotated[
    str, typer.Option("--address", metavar="HOST:PORT", help="Ray: the cluster's address. [default: the one here]")
]
Nodelist = Annotated[
    str, typer.Option("--nodelist", metavar="gpu[1-4]", help="Slurm: these nodes. [default: the allocation, or all]")
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=1, help="What each node has. [default: 60; 900 with --deep]"),
]


class EngineName(str, Enum):
    """What the cluster runs already."""

    RAY = "ray"
    SLURM = "slurm"


def check(
    engine: Annotated[EngineName, typer.Option("--engine", help="What reaches the nodes.")],
    address: Address = "",
    nodelist: Nodelist = "",
    python: Annotated[
        str,
        typer.Option(
            "--python",
            metavar="PYTHON|VENV",
            help="The interpreter to look at on every node; with Ray it must have it.",
        ),
    ] = "",
    deep: DeepOption = False,
    host_only: HostOnlyOption = False,
    timeout: Timeout = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="DIR", help="Keep each node's report there, as NODE.json.")
    ] = None,
    against: Against = None,
    strict: Strict = False,
    as_json: JsonOption = False,
    prometheus: Prometheus = None,
) -> int:
    """Check every node through Ray or Slurm, and compare them.

    Each node that is up is asked once. The doctor brings itself along: nodes need a Python 3.10 or newer and nothing
    else. A node that hangs, dies or refuses is told as unreachable. Inside a Slurm allocation the check sees the GPUs
    of the job; outside of one it sees those that a job without GPUs sees.
    """
    from flash_doctor.fleet.gather import Errand, gather
    from flash_doctor.system.process import EndingRunner
    from flash_doctor.system.signals import ending_by_exception

    seconds = timeout or (DEEP_TIMEOUT if deep else TIMEOUT)
    errand = Errand(python=python, deep=deep, host_only=host_only, timeout=seconds)
    with ending_by_exception(), EndingRunner() as runner:
        chosen = _engine(engine, runner, address=address, nodelist=nodelist, python=python)
        found = _read(gather(chosen, errand), save)
    return _tell(found, _Wishes(against, strict, as_json, prometheus))


def _engine(name: EngineName, runner: Runner, *, address: str, nodelist: str, python: str) -> Engine:
    if name is EngineName.RAY:
        from flash_doctor.fleet.ray import Ray

        _refuse(nodelist, "--nodelist", "slurm")
        return Ray(runner=runner, environ=os.environ, address=address, python=python)
    from flash_doctor.fleet.slurm import Slurm

    _refuse(address, "--address", "ray")
    return Slurm(runner=runner, environ=os.environ, nodelist=nodelist)


def _refuse(value: str, option: str, engine: str) -> None:
    if value:
        message = f"{option} is for --engine {engine}"
        raise BadInput(message)


def _read(gathered: Iterable[Gathered], save: Path | None) -> list[Node | Lost]:
    """The nodes, in the order of their names; each document is kept first if that is wanted."""
    from flash_doctor.fleet.reading import read_document

    found = [read_document(one.document, label=one.node, source=_kept(one, save) if save else "") for one in gathered]
    return sorted(found, key=lambda one: one.name)


def _kept(one: Gathered, folder: Path) -> str:
    from flash_doctor.fleet.reading import document_to_keep

    name = "".join(char if char.isalnum() or char in "._-" else "_" for char in one.node).lstrip(".") or "_"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be made"
        raise BadInput(message, evidence=(str(error),)) from error
    write_file(folder / f"{name}.json", document_to_keep(one.document))
    return str(folder / f"{name}.json")


def compare(
    reports: Annotated[
        list[str],
        typer.Argument(metavar="REPORT|DIR|-...", help="Reports of check --json, folders of them, - for JSON lines."),
    ],
    against: Against = None,
    strict: Strict = False,
    as_json: JsonOption = False,
    prometheus: Prometheus = None,
) -> int:
    """Say which nodes differ, and what that does to a run.

    Reads what flash-doctor check --json printed on each node; a line may begin with the node's name and a colon.
    Reports are data: they are checked, limited in size, and a broken one is a row of its own.
    """
    from flash_doctor.fleet.sources import read_all

    return _tell(read_all(reports, sys.stdin.buffer), _Wishes(against, strict, as_json, prometheus))


@dataclass(frozen=True)
class _Wishes:
    """How the comparison is made and told."""

    against: Path | None
    strict: bool
    as_json: bool
    prometheus: Path | None


def _tell(found: Iterable[Node | Lost], wishes: _Wishes) -> int:
    from flash_doctor.cli.typed import typed_comparison
    from flash_doctor.facts import Facts
    from flash_doctor.fleet.compare import compare as compared
    from flash_doctor.fleet.sources import read_one

    good = read_one(wishes.against) if wishes.against else None
    comparison = typed_comparison(compared(found, Facts().fleet, good))
    code = exit_code(comparison, strict=wishes.strict)
    if wishes.prometheus:
        from flash_doctor.render.prometheus import metrics

        write_file(wishes.prometheus, redact(metrics(comparison, time.time())))
    emit(_json(comparison, code) if wishes.as_json else _text(comparison))
    return code


def exit_code(comparison: Comparison, *, strict: bool) -> int:
    """BROKEN where a difference or a node's own error breaks the run; COULD_NOT_LOOK where a node gave no report.

    A run needs every node: one that was not seen is never healthy, strict or not.
    """
    if comparison.verdict is FleetVerdict.BROKEN:
        return BROKEN
    blind = comparison.lost or not comparison.names or (strict and comparison.not_known)
    return COULD_NOT_LOOK if blind else HEALTHY


def _json(comparison: Comparison, code: int) -> Redacted:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.fleet import fleet_document

    return to_json(fleet_document(comparison, code))


def _text(comparison: Comparison) -> Redacted:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.fleet import fleet_lines

    return to_text(fleet_lines(comparison), sys.stdout)


GROUP = {"check": check, "compare": compare}
