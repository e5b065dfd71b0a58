"""When no wheel fits: the nearest other ways, in order, each with what it changes, its cost and its risk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from packaging.utils import canonicalize_name

from flash_doctor.facts import Facts
from flash_doctor.model import Environment, FlashKind
from flash_doctor.model.plan import Alternative, Axis, Install, Move, Risk
from flash_doctor.model.wheel import Evidence, Wheel
from flash_doctor.resolve.axes import Seat, SortedWheels
from flash_doctor.resolve.build import Site, source_build
from flash_doctor.resolve.rank import rank
from flash_doctor.resolve.sources.live import Live
from flash_doctor.resolve.steps import TORCH, torch_steps, wheel_steps
from flash_doctor.resolve.torch_change import TorchMove, nearest, torch_moves

SHOWN_TORCH_MOVES = 3
_KERNELS = canonicalize_name("kernels")


@dataclass(frozen=True, kw_only=True)
class Search:
    """What the search knows: the seat, every wheel's verdict, the environment and the facts."""

    seat: Seat
    verdict: SortedWheels
    environment: Environment
    facts: Facts
    live: Live

    @cached_property
    def moves(self) -> tuple[TorchMove, ...]:
        """Every torch that runs here with its best wheel; none where a vendor's torch must stay."""
        torch = self.seat.torch
        return () if torch is None or torch.vendor is not None else torch_moves(self.seat, self.verdict, self.facts)

    def best(self, *axes: Axis) -> Wheel | None:
        """The best wheel that violates these axes and no other."""
        return next(iter(rank(self.verdict.only(*axes), self.seat)), None)


def outward(search: Search) -> tuple[Alternative, ...]:
    """Every kind of way that leads somewhere, in the order in which they are to be tried."""
    return tuple(alternative for way in WAYS for alternative in way(search))


def other_version(search: Search) -> Iterator[Alternative]:
    """Another version of it than was asked for, or than an installed package takes."""
    wheel = search.best(Axis.GOAL)
    if wheel is not None:
        wanted = search.seat.wish.specifier
        change = f"take {wheel.name} {wheel.family.version} instead of {wanted or 'version 2: another interface'}"
        risk = Risk.SAFE if wanted else Risk.CAUTIOUS
        yield _with(search, wheel, Move.VERSION, (change,), risk, "nothing else is installed anew")
    wheel = search.best(Axis.CAPS, Axis.GOAL)
    if wheel is not None and search.best(Axis.GOAL) is None:
        names = [cap.package for cap in search.seat.caps if not cap.admits(wheel.family.version)]
        change = f"take {wheel.name} {wheel.family.version}, with which {', '.join(names)} no longer works"
        yield _with(search, wheel, Move.VERSION, (change,), Risk.CAUTIOUS, "other packages must be moved or removed")


def other_torch(search: Search) -> Iterator[Alternative]:
    """Torch within its CUDA major, with all its companions."""
    moves = [move for move in search.moves if _same_major(move, search.seat)]
    yield from _torch_alternatives(search, moves, Move.TORCH)


def other_cuda(search: Search) -> Iterator[Alternative]:
    """Torch of another CUDA major."""
    moves = [move for move in search.moves if not _same_major(move, search.seat)]
    yield from _torch_alternatives(search, moves, Move.CUDA)


def _same_major(move: TorchMove, seat: Seat) -> bool:
    cuda = seat.torch.cuda if seat.torch else None
    return cuda is None or move.torch.cuda.major == cuda.major


def _torch_alternatives(search: Search, moves: list[TorchMove], kind: Move) -> Iterator[Alternative]:
    shown: dict[tuple[int, int], TorchMove] = {}
    for move in nearest(moves, search.seat, search.facts):
        shown.setdefault(move.torch.minor, move)
    found = (torch_alternative(search, move, kind) for move in list(shown.values())[:SHOWN_TORCH_MOVES])
    kept = search.seat.wish.keep - {TORCH}
    yield from (one for one in found if kept.isdisjoint(step.name for step in one.steps))


def torch_alternative(search: Search, move: TorchMove, kind: Move) -> Alternative:
    """That torch with everything that belongs to it, then the wheel."""
    choice = move.torch
    moved = torch_steps(choice, search.environment, search.facts)
    others = [step.name for step in moved[1:]]
    change = (
        f"torch {search.seat.torch} → {choice.version}+{choice.tag}",
        *(f"{name} moves with it" for name in others),
    )
    return Alternative(
        move=kind,
        change=(*change, f"then {move.wheel.filename}"),
        steps=(*moved, *wheel_steps(move.wheel, search.environment)),
        risk=Risk.CAUTIOUS,
        cost=f"torch, its CUDA libraries and {len(others)} other package(s) are replaced",
    )


def build(search: Search) -> Iterator[Alternative]:
    """Compile it here."""
    found = source_build(Site(seat=search.seat, environment=search.environment, facts=search.facts), search.live)
    if found is not None:
        yield found


def other_python(search: Search) -> Iterator[Alternative]:
    """The same torch under another Python, newer ones first."""
    wheels = [wheel for wheel in search.verdict.only(Axis.PYTHON) if not wheel.abi.endswith("t")]
    if not wheels:
        return
    here = int((search.seat.python or "cp30")[3:])
    wheel = min(rank(wheels, search.seat), key=lambda wheel: _away(int(wheel.python[3:]), here))
    change = f"a new environment with Python {wheel.python_text} and the same packages, then {wheel.filename}"
    yield _with(search, wheel, Move.PYTHON, (change,), Risk.CAUTIOUS, "the environment is made anew")


def _away(minor: int, here: int) -> tuple[bool, int]:
    return minor < here, abs(minor - here)


def other_driver(search: Search) -> Iterator[Alternative]:
    """A newer driver, where the driver is all that stands in the way."""
    wheel = search.best(Axis.DRIVER)
    if wheel is None or wheel.family.cuda is None:
        return
    need = search.facts.drivers.oldest_for(wheel.family.cuda)
    if need is not None:
        change = f"driver {search.seat.driver} → {need.minimum} or newer, by whoever runs the machine; then a restart"
        yield _with(search, wheel, Move.DRIVER, (change,), Risk.CAUTIOUS, "needs administrator rights and a restart")


def neighbour(search: Search) -> Iterator[Alternative]:
    """A wheel of a neighbouring torch, or of a development build of this one, whose symbols may fit."""
    near = [wheel for wheel in search.verdict.only(Axis.TORCH) if _shares_symbols(wheel, search)]
    doubtful = [wheel for wheel in search.verdict.only(Axis.FAULT) if wheel.family.evidence is not Evidence.ABSENT]
    wheel = next(iter(rank(near, search.seat) or rank(doubtful, search.seat)), None)
    if wheel is None:
        return
    reason = f"made for torch {wheel.family.built or wheel.family.torch}, whose landmark symbols agree with this one's"
    change = f"try {wheel.filename}: {reason if near else wheel.family.faults[-1].summary}"
    yield _with(search, wheel, Move.NEIGHBOUR, (change,), Risk.RISKY, "judged by its symbols once it is downloaded")


def _shares_symbols(wheel: Wheel, search: Search) -> bool:
    torch, made_for = search.seat.torch, wheel.family.torch
    if torch is None or made_for is None or torch.vendor is not None or torch.version.is_prerelease:
        return False
    minor = (made_for.major, made_for.minor)
    rows = [row for row in search.live.same_symbols if row.cxx11abi in {torch.cxx11abi, wheel.family.cxx11abi}]
    return any(row.joins(torch.minor, minor) for row in rows)


def fallback(search: Search) -> Iterator[Alternative]:
    """FlashAttention without flash-attn: the kernels package where it has a build, else torch's own attention."""
    torch, kernels = search.seat.torch, search.live.kernels
    supported = all(gpu >= search.facts.gpus.oldest_for(FlashKind.FA2) for gpu in search.seat.gpus)
    packing = "attention stays within each sample of a packed batch"
    if torch is not None and torch.cuda and supported and kernels.covers(torch.version) and torch.vendor is None:
        yield Alternative(
            move=Move.FALLBACK,
            change=(
                f'attn_implementation="{kernels.repository}" in transformers, with the kernels package: {packing}',
            ),
            steps=(Install(name=_KERNELS, requirement=_KERNELS, because=f"loads {kernels.repository}"),),
            risk=Risk.CAUTIOUS,
            cost="`import flash_attn` still fails; the code is fetched when training starts",
        )
    yield Alternative(
        move=Move.FALLBACK,
        change=(
            'attn_implementation="sdpa": torch\'s own attention, nothing to install',
            "sample packing must be off, or the trainer must give position-wise masks: without them samples of one "
            "packed batch see each other",
        ),
        steps=(),
        risk=Risk.SAFE,
        cost="slower, and more memory for long sequences",
    )


def _with(search: Search, wheel: Wheel, move: Move, change: tuple[str, ...], risk: Risk, cost: str) -> Alternative:
    steps = wheel_steps(wheel, search.environment)
    return Alternative(move=move, change=change, steps=steps, risk=risk, cost=cost)


Way = Callable[[Search], Iterator[Alternative]]
WAYS: tuple[Way, ...] = (
    other_version,
    other_torch,
    other_cuda,
    build,
    other_python,
    other_driver,
    neighbour,
    fallback,
)
