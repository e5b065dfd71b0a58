"""Moving torch: every build of it that this machine can run, with the best wheel for each, nearest first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.model.plan import Axis
from flash_doctor.model.wheel import Wheel
from flash_doctor.resolve.axes import Seat, SeatTorch, fits_abi, fits_cuda, fits_driver, fits_torch
from flash_doctor.resolve.rank import addressed, rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.facts import Facts
    from flash_doctor.facts.torch import TorchBuild, TorchRelease
    from flash_doctor.resolve.axes import SortedWheels

TORCH_AXES = (Axis.TORCH, Axis.CUDA, Axis.ABI, Axis.DRIVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchChoice:
    """One build of one release of torch: version, CUDA, its index; `full`: the driver speaks all of that CUDA."""

    version: Version
    cuda: Version
    tag: str
    index: str
    cxx11abi: bool
    full: bool

    @property
    def minor(self) -> tuple[int, int]:
        return self.version.major, self.version.minor

    @property
    def seat_torch(self) -> SeatTorch:
        return SeatTorch(version=self.version, cuda=self.cuda, cxx11abi=self.cxx11abi)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchMove:
    """A torch, and the best wheel for it."""

    torch: TorchChoice
    wheel: Wheel


def torch_choices(seat: Seat, facts: Facts) -> Iterator[TorchChoice]:
    """Every build of torch that runs on the machine and its Python, and that was asked for; newest release last."""
    for release in facts.torch.releases.values():
        if not _python_fits(release, seat):
            continue
        for build in facts.torch.builds_of(release.version):
            if _asked_for(release.version, build.tag, seat) and _build_fits(build, seat, facts):
                yield _choice(release.version, build, seat, facts)


def _asked_for(version: Version, tag: str, seat: Seat) -> bool:
    """Whether the wish takes it: torch==2.8.0 takes every CUDA build of it, torch==2.8.0+cu128 only one."""
    wanted = seat.wish.torch
    return wanted is None or wanted.contains(Version(f"{version}+{tag}"), prereleases=True)


def _python_fits(release: TorchRelease, seat: Seat) -> bool:
    return seat.abi is None or seat.abi in release.pythons


def _build_fits(build: TorchBuild, seat: Seat, facts: Facts) -> bool:
    """The build exists for the machine, its glibc is old enough, driver and GPUs run it."""
    if (seat.machine or "x86_64") not in build.code or seat.system not in {None, "linux"} or seat.libc != "glibc":
        return False
    need = facts.drivers.oldest_for(build.cuda)
    if (seat.glibc and seat.glibc < build.glibc) or (need and seat.driver and seat.driver < need.minimum):
        return False
    code = build.code[seat.machine or "x86_64"]
    return code is None or all(facts.gpus.covers(code.sass, code.ptx, gpu) for gpu in seat.gpus)


def _choice(version: Version, build: TorchBuild, seat: Seat, facts: Facts) -> TorchChoice:
    need = facts.drivers.oldest_for(build.cuda)
    full = not (seat.driver and need and need.full and seat.driver < need.full)
    return TorchChoice(
        version=version, cuda=build.cuda, tag=build.tag, index=build.index, cxx11abi=build.cxx11abi, full=full
    )


def torch_moves(seat: Seat, verdict: SortedWheels, facts: Facts) -> tuple[TorchMove, ...]:
    """For every torch that the machine can run, the best wheel that then fits; those without one are left out."""
    shelves = _Shelves(verdict.fitting + verdict.only(*TORCH_AXES))
    found = []
    for choice in torch_choices(seat, facts):
        moved = replace(seat, torch=choice.seat_torch)
        wheels = [wheel for wheel in shelves.of(choice) if _fits(wheel, moved)]
        if wheels:
            found.append(TorchMove(torch=choice, wheel=rank(wheels, moved)[0]))
    return tuple(found)


class _Shelves:
    """Wheels by the torch minor and CUDA major they were built for, so that each torch looks at its own only."""

    def __init__(self, wheels: Iterable[Wheel]) -> None:
        self.exact: dict[tuple[int, int, int], list[Wheel]] = {}
        self.open: list[Wheel] = []
        for wheel in wheels:
            torch, cuda = wheel.family.torch, wheel.family.cuda
            if torch is None or cuda is None or wheel.family.newer_torch:
                self.open.append(wheel)
            else:
                self.exact.setdefault((torch.major, torch.minor, cuda.major), []).append(wheel)

    def of(self, choice: TorchChoice) -> list[Wheel]:
        return self.exact.get((*choice.minor, choice.cuda.major), []) + self.open


def _fits(wheel: Wheel, moved: Seat) -> bool:
    return all(question(wheel.family, moved) is None for question in (fits_torch, fits_cuda, fits_abi, fits_driver))


def nearest(moves: Iterable[TorchMove], seat: Seat, facts: Facts) -> tuple[TorchMove, ...]:
    """Nearest to the torch that is there: same CUDA build, fewest minor releases away, newer rather than older."""
    minors = sorted(facts.torch.builds)
    places = {(minor.major, minor.minor): place for place, minor in enumerate(minors)}
    torch = seat.torch
    here = places.get(torch.minor, len(minors)) if torch else len(minors)
    cuda = torch.cuda if torch else None

    def distance(move: TorchMove) -> tuple[object, ...]:
        choice = move.torch
        away = abs(places[choice.minor] - here)
        return (away, choice.cuda != cuda, places[choice.minor] < here, not choice.full, *_newest(choice))

    return tuple(sorted(moves, key=distance))


def newest(moves: Iterable[TorchMove]) -> tuple[TorchMove, ...]:
    """For a machine without torch: a wheel that somebody saw, then the newest of everything."""

    def order(move: TorchMove) -> tuple[object, ...]:
        version = move.wheel.family.version
        return (not addressed(move.wheel), -version.major, -version.minor, *newest_choice(move.torch))

    return tuple(sorted(moves, key=order))


def newest_choice(choice: TorchChoice) -> tuple[object, ...]:
    """Newest minor release, a CUDA build that the driver supports in full, newest patch, newest CUDA."""
    return (tuple(-part for part in choice.minor), not choice.full, *_newest(choice))


def _newest(choice: TorchChoice) -> tuple[object, ...]:
    return tuple(-part for part in choice.version.release), tuple(-part for part in choice.cuda.release)
