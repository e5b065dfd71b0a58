"""The wheels that plans choose from: show, check, refresh."""

from __future__ import annotations

import datetime
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flash_doctor.cli.errors import emit
from flash_doctor.cli.options import JsonOption, PythonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.cli.plan_options import AllOption  # noqa: TC001 the same
from flash_doctor.cli.typed import typed_lines
from flash_doctor.errors import BROKEN, COULD_NOT_LOOK, HEALTHY, BadFacts, BadInput, DoctorError
from flash_doctor.system.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flash_doctor.facts import Facts
    from flash_doctor.render.text import Line
    from flash_doctor.resolve.axes import Seat
    from flash_doctor.resolve.sources.matrix import Wheels

MIRROR = "FLASH_DOCTOR_INDEX_MIRROR"
_PARTS = ("drivers", "gpus", "companions", "publishers", "quirks", "complaints", "fleet", "flash", "stacks", "torch")


def lint(as_json: JsonOption = False) -> int:
    """Check every fact, shipped or refreshed.

    Shapes, hashes, and names as pip reads them. Ends with 1 on a fault.
    """
    from flash_doctor.facts import Facts
    from flash_doctor.render.document import to_json

    faults = list(_faults(Facts()))
    code = BROKEN if faults else HEALTHY
    if as_json:
        emit(to_json({"schema": "flash-doctor/lint/1", "faults": faults, "exit_code": code}))
    else:
        emit(redact("".join(f"{fault}\n" for fault in faults) or "Every fact is in order.\n"))
    return code


def _faults(facts: Facts) -> Iterator[str]:
    from flash_doctor.cli.machines import overlay
    from flash_doctor.resolve.sources.lint import lint as lint_wheels
    from flash_doctor.resolve.sources.live import load_live
    from flash_doctor.resolve.sources.overlay import load_known

    for part in _PARTS:
        yield from _told(partial(getattr, facts, part))
    yield from _told(partial(load_live, facts.folder / "wheels" / "sources.toml"))
    try:
        yield from lint_wheels(_shipped(facts), facts)
        yield from load_known(facts, overlay()).knowledge.warnings
    except BadFacts as error:
        yield from (error.message, *error.evidence)


def _shipped(facts: Facts) -> Wheels:
    from flash_doctor.resolve.sources.matrix import load_wheels

    return load_wheels(facts.folder / "wheels", publishers=facts.publishers, knows_cuda=facts.drivers.knows)


def _told(read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except BadFacts as error:
        yield from (error.message, *error.evidence)


def show(
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Part of a wheel's name or publisher.")] = None,
    every: AllOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show the publishers, or the wheels of a name.

    A wheel is told with its GPU code, its hash, and the source and date of what is known about it.
    """
    from flash_doctor.cli.machines import known_wheels
    from flash_doctor.facts import Facts
    from flash_doctor.render.matrix import overview_lines, wheel_lines, wheels_document

    known = known_wheels(Facts())
    found = [
        wheel for wheel in known.wheels if text is None or text in wheel.filename or text == wheel.family.publisher
    ]
    if not found:
        message = f"no wheel that is known has {text!r} in its name"
        raise BadInput(message, advice="`flash-doctor matrix show` lists the publishers.")
    if as_json:
        _emit_json(wheels_document(found, known.knowledge))
    elif text is None:
        _emit_lines(overview_lines(found, known.wheels.origins, known.knowledge))
    else:
        _emit_lines(wheel_lines(found, every=every))
    return HEALTHY


def coverage(
    python: PythonOption = None,
    torch: Annotated[str | None, typer.Option("--torch", metavar="VERSION", help="Only this torch: 2.8.")] = None,
    machine: Annotated[
        str | None, typer.Option("--machine", metavar="ARCH", help="Only this one: x86_64 or aarch64.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Show who has a wheel for which torch, CUDA and Python.

    The place of this machine in the table is marked.
    """
    from flash_doctor.cli.machines import known_wheels
    from flash_doctor.facts import Facts
    from flash_doctor.render.matrix import coverage_document, coverage_lines
    from flash_doctor.resolve.coverage import coverage as covered, here

    facts = Facts()
    seat, where = _seat(python, facts)
    kind = machine or (seat.machine if seat else None)
    cells = tuple(
        cell
        for cell in covered(known_wheels(facts).wheels, facts)
        if kind in {None, cell.machine} and torch in {None, str(cell.torch)}
    )
    if not cells:
        message = "there is no such torch or machine in the matrix"
        raise BadInput(message, advice="Write --torch 2.8 and --machine x86_64 or aarch64.")
    mine = tuple(here(cells, seat)) if seat and seat.torch else ()
    where = where if mine or not (seat and seat.torch) else f"{where}, which is not in this table"
    if as_json:
        _emit_json(coverage_document(cells, mine, where))
    else:
        _emit_lines(coverage_lines(cells, mine, where))
    return HEALTHY


def _seat(python: str | None, facts: Facts) -> tuple[Seat | None, str]:
    """Where this machine is in the table, and in words; a target that cannot be read is in no place."""
    from flash_doctor.cli.machines import environment_here
    from flash_doctor.model import Goal
    from flash_doctor.resolve.constraints import take_seat
    from flash_doctor.resolve.goal import read_goal

    try:
        environment = environment_here(python)
    except DoctorError as error:
        if python is not None:
            raise
        return None, f"where you are is not known: {error.message}"
    seat = take_seat(environment, facts, read_goal(Goal())).seat
    if seat.torch is None:
        return seat, "you are nowhere in it: no torch is installed here"
    return seat, f"[ ] you are here: torch {seat.torch}, Python {seat.abi}, {seat.machine}"


def refresh(
    in_tree: Annotated[bool, typer.Option("--in-tree", help="Change the shipped files: for maintainers.")] = False,
    mirror: Annotated[
        str | None,
        typer.Option("--mirror", metavar="URL", envvar=MIRROR, help="Read URL/HOST/PATH instead of https://HOST/PATH."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Ask the publishers what is new, and keep it.

    Reads their release lists and indexes. What is new is kept for this user, in a folder of their own. Every answer is
    checked like the shipped facts before it is kept. Ends with 6 when a publisher could not be read; what is known of
    it then stays as it was.
    """
    from flash_doctor.cli.machines import overlay
    from flash_doctor.facts import Facts
    from flash_doctor.render.matrix import renewal_document, renewal_lines
    from flash_doctor.resolve.sources.renew import renew

    facts = Facts()
    today = datetime.date.today().isoformat()
    renewals = renew(facts, overlay(), today, mirror=mirror or "", in_tree=in_tree)
    folder = str(facts.folder / "wheels" if in_tree else overlay())
    code = COULD_NOT_LOOK if any(one.fault for one in renewals) else HEALTHY
    if as_json:
        _emit_json(renewal_document(renewals, folder, code))
    else:
        _emit_lines(renewal_lines(renewals, folder))
    return code


def _emit_json(document: dict[str, Any]) -> None:
    from flash_doctor.render.document import to_json

    emit(to_json(document))


def _emit_lines(lines: Iterable[Line]) -> None:
    from flash_doctor.render.console import to_text

    emit(to_text(typed_lines(lines), sys.stdout))


GROUP = {"lint": lint, "show": show, "coverage": coverage, "refresh": refresh}
