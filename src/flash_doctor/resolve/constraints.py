"""An Environment reduced to a Seat: what the axes ask, and a sentence for every part that could not be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from flash_doctor.model import Absent, Capability, Unknown, known
from flash_doctor.resolve.axes import Cap, Seat, SeatTorch
from flash_doctor.system.requirement import readable, specifiers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from flash_doctor.facts import Facts
    from flash_doctor.model import Environment, Gpus, Torch
    from flash_doctor.resolve.goal import Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The seat of an environment, and what about it is not known and therefore does not constrain."""

    seat: Seat
    notes: tuple[str, ...]


def take_seat(environment: Environment, facts: Facts, wish: Wish) -> Taken:
    """Reduce an environment; nothing in it may be missing so badly that this fails."""
    python, host = known(environment.python), known(environment.host)
    libc = known(host.libc) if host else None
    driver = known(environment.driver)
    system, machine = _platform(python.platform) if python else _host(host)
    seat = Seat(
        python=python.abi.rstrip("mt") if python else None,
        abi=python.abi if python else None,
        system=system,
        machine=machine,
        libc=libc.name if libc else "glibc",
        glibc=libc.version if libc and libc.name == "glibc" else None,
        torch=_torch(known(environment.torch), facts),
        gpus=visible_capabilities(known(environment.gpus)),
        driver=known(driver.version) if driver else None,
        floors={major: floor.linux for major, floor in facts.drivers.majors.items()},
        own_code=frozenset(gpu for gpu, kind in facts.gpus.kinds.items() if kind.own_code),
        caps=tuple(_caps(environment, facts)),
        wish=wish,
    )
    return Taken(seat=seat, notes=tuple(_notes(environment, seat)))


def _platform(tag: str) -> tuple[str, str | None]:
    """`linux_x86_64` or `win_amd64` as system and machine; the machine may not be told."""
    system, _, machine = tag.replace("-", "_").partition("_")
    return ("windows" if system == "win" else system), {"amd64": "x86_64", "arm64": "aarch64"}.get(
        machine, machine
    ) or None


def _host(host: object) -> tuple[str | None, str | None]:
    if host is None:
        return None, None
    machine = str(getattr(host, "machine", "")) or None
    return str(getattr(host, "system", "")).lower() or None, machine


def _torch(torch: Torch | None, facts: Facts) -> SeatTorch | None:
    if torch is None:
        return None
    cuda = None if known(torch.hip) else known(torch.cuda)
    vendor = known(torch.vendor)
    build = facts.torch.build(torch.version, cuda) if cuda and not vendor else None
    abi = known(torch.cxx11abi)
    return SeatTorch(
        version=torch.version,
        cuda=cuda,
        cuda_known=not isinstance(torch.cuda, Unknown) or known(torch.hip) is not None,
        cxx11abi=build.cxx11abi if abi is None and build else abi,
        vendor=vendor,
    )


def visible_capabilities(gpus: Gpus | None) -> tuple[Capability, ...]:
    """Compute capabilities of the GPUs that CUDA may see, each once, oldest first."""
    devices = gpus.devices if gpus else ()
    seen = {known(device.capability) for device in devices if known(device.visible) is not False}
    return tuple(sorted(capability for capability in seen if capability is not None))


def _caps(environment: Environment, facts: Facts) -> Iterator[Cap]:
    """Windows of flash-attn that installed packages keep: from the facts, and from their metadata."""
    packages, python = known(environment.packages), known(environment.python)
    markers = python.markers if python else None
    for package in packages.distributions if packages else ():
        version = known(package.version)
        window = facts.companions.flash_window(package.name, version) if version else None
        if window is not None:
            yield Cap(
                package=f"{package.name} {version}",
                specifier=SpecifierSet(f">={window.first},<{window.below}"),
                fatal=window.fatal,
                why=str(window.source),
            )
        for line in readable(package.requires):
            if line.name.startswith("flash-attn") and line.specifier and line.holds(markers):
                yield Cap(
                    package=f"{package.name} {version or package.raw_version}",
                    specifier=specifiers(line.specifier),
                    fatal=True,
                    why=f"its metadata requires {line.bare}",
                )


def _notes(environment: Environment, seat: Seat) -> Iterator[str]:
    """A sentence for each part that does not constrain because it is not known or not there."""
    named = {
        "Python": (environment.python, seat.python),
        "the machine's architecture": (environment.host, seat.machine),
        "the C library": (environment.host, seat.glibc or seat.libc != "glibc"),
        "torch": (environment.torch, seat.torch),
        "the driver": (environment.driver, seat.driver),
        "the GPU": (environment.gpus, seat.gpus),
        "the list of installed packages": (environment.packages, environment.packages),
    }
    for name, (part, value) in named.items():
        if isinstance(part, Unknown):
            yield f"{name} is not known ({part.unknown}), so it rules nothing out"
        elif isinstance(part, Absent) and name != "torch":
            yield f"{name} is not there ({part.absent or 'looked for'}), so it rules nothing out"
        elif not value and name != "torch":
            yield f"{name} is not known, so it rules nothing out"
    torch = seat.torch
    if torch is not None and torch.cuda is not None and torch.cxx11abi is None:
        yield "the C++ ABI of this torch is not known, so it rules nothing out"


def driver_floor(seat: Seat, cuda: Version) -> Version | None:
    """The oldest driver that runs a CUDA build, when the one that is there is older; else None."""
    floor = seat.floors.get(cuda.major)
    return floor if seat.driver and floor and seat.driver < floor else None
