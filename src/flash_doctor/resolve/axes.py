"""The axes: what a wheel must fit. Each is one question about a family of wheels and a seat; the answer is a refusal.

A seat is the machine reduced to what the axes ask. None in it means "not known": that axis then does not constrain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from flash_doctor.model import Capability
from flash_doctor.model.plan import Axis, Rejection
from flash_doctor.model.wheel import Evidence, Wheel, WheelFamily, WheelTarget, python_text
from flash_doctor.resolve.goal import Wish

if TYPE_CHECKING:
    from flash_doctor.resolve.sources.matrix import Wheels


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """An installed package that takes only some releases of flash-attn: first <= version < below.

    `fatal`: with another one it cannot be imported; else it only falls back to something slower.
    """

    package: str
    specifier: SpecifierSet
    fatal: bool
    why: str

    def admits(self, version: Version) -> bool:
        return self.specifier.contains(version, prereleases=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatTorch:
    """The torch a wheel must fit; `cuda` is None in a build without CUDA, `vendor` who built it (None: PyTorch)."""

    version: Version
    cuda: Version | None
    cuda_known: bool = True
    cxx11abi: bool | None = None
    vendor: str | None = None

    @property
    def minor(self) -> tuple[int, int]:
        return self.version.major, self.version.minor

    def __str__(self) -> str:
        return str(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What the axes ask about a machine and its Python; None where nobody could say.

    `python` and `abi` are wheel tags (cp312, cp313t), `libc` the name of the C library.
    `floors` gives the oldest driver for each CUDA major; `own_code` the capabilities that take no other chip's code.
    """

    python: str | None = None
    abi: str | None = None
    system: str | None = None
    machine: str | None = None
    libc: str = "glibc"
    glibc: Version | None = None
    torch: SeatTorch | None = None
    gpus: tuple[Capability, ...] = ()
    driver: Version | None = None
    floors: Mapping[int, Version] = field(default_factory=dict)
    own_code: frozenset[Capability] = frozenset()
    caps: tuple[Cap, ...] = ()
    wish: Wish


say = lru_cache(maxsize=None)(str)
"""A version as text; there are few of them, and each is told thousands of times."""


def fits_python(wheel: Wheel, seat: Seat) -> str | None:
    """The refusal of the Python tag: the exact tag, or abi3 of an older Python (never with free threading)."""
    if seat.python is None or wheel.python.startswith("py"):
        return None
    if wheel.abi == "abi3":
        fits = _minor(wheel.python) <= _minor(seat.python) and not (seat.abi or "").endswith("t")
    else:
        fits = wheel.python == seat.python and (seat.abi is None or wheel.abi == seat.abi)
    return None if fits else f"made for Python {wheel.python_text}, this is {python_text(seat.python, seat.abi or '')}"


def _minor(tag: str) -> int:
    return int(tag[3:])


def fits_platform(family: WheelFamily, seat: Seat) -> str | None:
    if family.system == "any":
        return None
    if seat.system is not None and family.system != seat.system:
        return f"made for {family.system}, this is {seat.system}"
    if seat.machine is not None and family.machine != seat.machine:
        return f"made for {family.machine}, this is {seat.machine}"
    return None


def fits_glibc(family: WheelFamily, seat: Seat) -> str | None:
    if family.system != "linux":
        return None
    if seat.libc != "glibc":
        return f"needs glibc, this system's C library is {seat.libc}"
    if seat.glibc is None or family.glibc is None or seat.glibc >= family.glibc:
        return None
    return f"needs glibc {say(family.glibc)} or newer, this is {seat.glibc}"


def fits_torch(family: WheelFamily, seat: Seat) -> str | None:
    torch = seat.torch
    if family.torch is None or torch is None:
        return None
    if torch.vendor is not None:
        return f"made for PyTorch's own torch {say(family.torch)}, this is {say(torch.version)} by {torch.vendor}"
    if torch.version.is_prerelease:
        return f"made for the release torch {say(family.torch)}, this is the development build {say(torch.version)}"
    wanted = family.torch.major, family.torch.minor
    if torch.minor == wanted or (family.newer_torch and torch.minor > wanted):
        return None
    return f"made for torch {say(family.torch)}, this is {say(torch.version)}"


def fits_cuda(family: WheelFamily, seat: Seat) -> str | None:
    torch = seat.torch
    if family.cuda is None or torch is None or not torch.cuda_known:
        return None
    if torch.cuda is None:
        return f"made for CUDA {say(family.cuda)}, this torch is a build without CUDA"
    if torch.cuda.major == family.cuda.major:
        return None
    return f"made for CUDA {say(family.cuda)}, this torch is built for CUDA {torch.cuda}"


def fits_abi(family: WheelFamily, seat: Seat) -> str | None:
    if family.cxx11abi is None or seat.torch is None or seat.torch.cxx11abi is None:
        return None
    if family.cxx11abi == seat.torch.cxx11abi or family.newer_torch:
        return None
    lie = next((f" ({fault.summary})" for fault in family.faults if fault.id == "mislabelled-abi"), "")
    return f"binary with C++ ABI {_abi(family.cxx11abi)}, this torch has {_abi(seat.torch.cxx11abi)}{lie}"


def _abi(value: bool) -> str:
    return "cxx11abiTRUE" if value else "cxx11abiFALSE"


def fits_gpu(family: WheelFamily, seat: Seat) -> str | None:
    """Every visible GPU must have code in the wheel."""
    if not family.code:
        return None
    lacking = [gpu for gpu in seat.gpus if not any(runs(code, gpu, seat.own_code) for code in family.code)]
    if not lacking:
        return None
    has = codes_text(family.code)
    return f"holds GPU code for {has}; a GPU of compute capability {lacking[0]} cannot run it"


@cache
def codes_text(code: tuple[WheelTarget, ...]) -> str:
    return ", ".join(map(str, code))


def runs(code: WheelTarget, gpu: Capability, own_code: frozenset[Capability]) -> bool:
    """SASS runs on its major version from its minor upwards, on an exact target only there; PTX on anything newer."""
    if code.upward:
        return gpu >= code.capability
    if code.exact or gpu in own_code or code.capability in own_code:
        return code.capability == gpu
    return code.capability.major == gpu.major and code.capability.minor <= gpu.minor


def fits_driver(family: WheelFamily, seat: Seat) -> str | None:
    if family.cuda is None or seat.driver is None:
        return None
    floor = seat.floors.get(family.cuda.major)
    if floor is None or seat.driver >= floor:
        return None
    return f"CUDA {family.cuda.major} needs driver {floor} or newer, this is {seat.driver}"


def fits_caps(family: WheelFamily, seat: Seat) -> str | None:
    if family.dist != "flash-attn":
        return None
    broken = next((cap for cap in seat.caps if cap.fatal and not cap.admits(family.version)), None)
    return f"{broken.package} takes flash-attn {broken.specifier} only ({broken.why})" if broken else None


def fits_fault(family: WheelFamily, _: Seat) -> str | None:
    if family.evidence is Evidence.ABSENT:
        return "the publisher's build matrix promises it, the address answers 404 (not found)"
    return next((fault.summary for fault in family.faults if fault.breaks), None)


def fits_goal(family: WheelFamily, seat: Seat) -> str | None:
    if seat.wish.admits(family.version):
        return None
    wanted = seat.wish.specifier or "FlashAttention 2, which has another interface"
    return f"version {say(family.version)} is not {wanted}"


Question = Callable[[WheelFamily, Seat], "str | None"]
QUESTIONS: tuple[tuple[Axis, Question], ...] = (
    (Axis.PLATFORM, fits_platform),
    (Axis.GLIBC, fits_glibc),
    (Axis.TORCH, fits_torch),
    (Axis.CUDA, fits_cuda),
    (Axis.ABI, fits_abi),
    (Axis.GPU, fits_gpu),
    (Axis.DRIVER, fits_driver),
    (Axis.CAPS, fits_caps),
    (Axis.FAULT, fits_fault),
    (Axis.GOAL, fits_goal),
)
"""Every axis but the Python tag, which the wheels of a family differ in, in the order in which refusals are told."""


def violations(family: WheelFamily, seat: Seat) -> tuple[tuple[Axis, str], ...]:
    """Every axis on which the family fails, with the reason."""
    return tuple(_failing(family, seat))


def _failing(family: WheelFamily, seat: Seat) -> Iterator[tuple[Axis, str]]:
    for axis, question in QUESTIONS:
        why = question(family, seat)
        if why is not None:
            yield axis, why


_PLACES = {axis: place for place, axis in enumerate(Axis)}

Axes = tuple[Axis, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedWheels:
    """Wheels that fit, and the refusals by the axes that they violate; each group newest first."""

    fitting: tuple[Wheel, ...]
    refused: Mapping[Axes, tuple[Rejection, ...]]

    def only(self, *axes: Axis) -> tuple[Wheel, ...]:
        """The refused wheels that violate nothing but these axes."""
        allowed = set(axes)
        groups = (group for violated, group in self.refused.items() if allowed.issuperset(violated))
        return tuple(refusal.wheel for group in groups for refusal in group)

    def nearest_first(self) -> tuple[Rejection, ...]:
        """Fewest violations first, then the axis that is told last, then the newest version."""
        order = sorted(self.refused, key=lambda axes: (len(axes), [-_PLACES[axis] for axis in axes]))
        return tuple(refusal for axes in order for refusal in self.refused[axes])


def judge(wheels: Wheels, seat: Seat) -> SortedWheels:
    """Ask every axis about every wheel of the wanted distribution; one pass, no wheel twice."""
    fitting: list[Wheel] = []
    refused: dict[Axes, list[Rejection]] = {}
    pythons: dict[tuple[str, str], str | None] = {}
    for family, members in wheels.newest_first:
        if family.dist != seat.wish.flash:
            continue
        failing = violations(family, seat)
        axes = tuple([axis for axis, _ in failing])
        every = (Axis.PYTHON, *axes)
        whole, by_python = refused.setdefault(axes, []), refused.setdefault(every, [])
        for wheel in members:
            tag = (wheel.python, wheel.abi)
            if tag not in pythons:
                pythons[tag] = fits_python(wheel, seat)
            why = pythons[tag]
            if why is not None:
                by_python.append(Rejection(wheel=wheel, axis=Axis.PYTHON, why=why, axes=every))
            elif failing:
                axis, reason = failing[0]
                whole.append(Rejection(wheel=wheel, axis=axis, why=reason, axes=axes))
            else:
                fitting.append(wheel)
    return SortedWheels(
        fitting=tuple(fitting), refused={axes: tuple(group) for axes, group in refused.items() if group}
    )
