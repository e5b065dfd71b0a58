"""Compare the nodes of a joint run: gather reports through Ray or Slurm, or take those that are there."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.boundary import emit, write_file
from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY
from flash_doctor.model.fleet import Comparison, FleetVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.model.fleet import Lost, Node

Against = Annotated[
    Path | None,
    typer.Option("--against", metavar="REPORT", help="Compare every node with this known good node's report."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 6 if anything could not be compared.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Prometheus = Annotated[
    Path | None,
    typer.Option("--prometheus", metavar="FILE", help="Write metrics for the node exporter's textfile collector, too."),
]


def compare(
    reports: Annotated[
        list[str],
        typer.Argument(metavar="REPORT|DIR|-...", help="Reports of check --json, folders of them, - for JSON lines."),
    ],
    against: Against = None,
    strict: Strict = False,
    as_json: AsJson = False,
    prometheus: Prometheus = None,
) -> int:
    """Say which nodes differ from the others, and what that does to a run on all of them.

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
    from flash_doctor.facts import Facts
    from flash_doctor.fleet.compare import compare as compared
    from flash_doctor.fleet.sources import read_one

    good = read_one(wishes.against) if wishes.against else None
    comparison = compared(found, Facts().fleet, good)
    code = exit_code(comparison, strict=wishes.strict)
    if wishes.prometheus:
        from flash_doctor.render.prometheus import metrics

        write_file(wishes.prometheus, metrics(comparison, time.time()))
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


def _json(comparison: Comparison, code: int) -> str:
    from flash_doctor.render.document import to_json
    from flash_doctor.render.fleet import fleet_document

    return to_json(fleet_document(comparison, code))


def _text(comparison: Comparison) -> str:
    from flash_doctor.render.console import to_text
    from flash_doctor.render.fleet import fleet_lines

    return to_text(fleet_lines(comparison), sys.stdout)


GROUP = {"compare": compare}
