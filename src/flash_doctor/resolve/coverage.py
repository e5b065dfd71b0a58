"""`doctor matrix coverage`: for each torch build and Python, who has a wheel of FlashAttention 2, and which version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from flash_doctor.model.wheel import Cell
from flash_doctor.resolve.axes import Seat, SeatTorch, fits_abi, fits_fault
from flash_doctor.resolve.goal import Wish

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.facts import Facts
    from flash_doctor.facts.torch import TorchBuild
    from flash_doctor.model.wheel import Wheel
    from flash_doctor.resolve.sources.matrix import Wheels

FLASH = canonicalize_name("flash-attn")
_WISH = Wish(flash=FLASH, specifier=SpecifierSet(), torch=None, keep=frozenset(), allow=frozenset())


def coverage(wheels: Wheels, facts: Facts) -> tuple[Cell, ...]:
    """Every combination that PyTorch publishes, in the order machine, torch, CUDA, Python."""
    shelves = _shelves(wheels)
    cells = (
        _cell(machine, minor, build, python, shelves)
        for machine in ("x86_64", "aarch64")
        for minor, builds in sorted(facts.torch.builds.items())
        for build in builds.values()
        if machine in build.code
        for python in _pythons(minor, facts)
    )
    return tuple(cells)


def _pythons(minor: Version, facts: Facts) -> tuple[str, ...]:
    """Python tags of the newest release of a minor version, oldest Python first."""
    releases = [one for one in facts.torch.releases if (one.major, one.minor) == (minor.major, minor.minor)]
    tags = facts.torch.releases[max(releases)].pythons
    return tuple(sorted(tags, key=lambda tag: (int(tag[3:].rstrip("t")), tag)))


Shelf = tuple[str, Version | None, int, str]


def _shelves(wheels: Wheels) -> dict[Shelf, list[Wheel]]:
    """Wheels that may be offered, by machine, torch, CUDA major and Python."""
    shelves: dict[Shelf, list[Wheel]] = {}
    anywhere = Seat(wish=_WISH)
    for wheel in wheels:
        family = wheel.family
        offered = family.dist == FLASH and family.system == "linux" and family.cuda and _WISH.admits(family.version)
        if offered and family.cuda and fits_fault(family, anywhere) is None:
            shelves.setdefault((family.machine, family.torch, family.cuda.major, wheel.abi), []).append(wheel)
    return shelves


def _cell(machine: str, minor: Version, build: TorchBuild, python: str, shelves: Mapping[Shelf, list[Wheel]]) -> Cell:
    seat = Seat(torch=SeatTorch(version=minor, cuda=build.cuda, cxx11abi=build.cxx11abi), wish=_WISH)
    found = shelves.get((machine, minor, build.cuda.major, python), ())
    newest: dict[str, Version] = {}
    for wheel in found:
        family = wheel.family
        if fits_abi(family, seat) is None:
            newest[family.publisher] = max(family.version, newest.get(family.publisher, family.version))
    return Cell(machine=machine, torch=minor, tag=build.tag, python=python, newest=newest)


def here(cells: tuple[Cell, ...], seat: Seat) -> Iterator[Cell]:
    """The cells that the machine of a seat is in; what is not known matches all."""
    for cell in cells:
        torch = seat.torch
        if seat.machine not in {None, cell.machine} or seat.abi not in {None, cell.python}:
            continue
        if torch is None or (torch.minor == (cell.torch.major, cell.torch.minor) and _same_build(cell, torch)):
            yield cell


def _same_build(cell: Cell, torch: SeatTorch) -> bool:
    if torch.cuda is None:
        return not torch.cuda_known
    return cell.tag == f"cu{torch.cuda.major}{torch.cuda.minor}"
