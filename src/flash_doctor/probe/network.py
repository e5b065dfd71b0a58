"""Network interfaces and RDMA ports, as the kernel tells them in /sys: what the nodes of one run talk through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Absent
from flash_doctor.model.machine import Interface, Network, RdmaPort
from flash_doctor.probe.files import exists, names_in, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.model import Part


def read_network(root: Path) -> Part[Network]:
    """Interfaces with hardware behind them (no loopback, bridge or container's end), and the RDMA ports."""
    net, rdma = root / "sys/class/net", root / "sys/class/infiniband"
    if not exists(net):
        return Absent(absent="/sys/class/net does not exist")
    return Network(
        interfaces=tuple(_interface(net / name) for name in sorted(names_in(net)) if _is_hardware(net / name)),
        rdma=tuple(
            _port(rdma / adapter / "ports" / port, f"{adapter}:{port}")
            for adapter in sorted(names_in(rdma))
            for port in sorted(names_in(rdma / adapter / "ports"))
        ),
    )


def _is_hardware(place: Path) -> bool:
    """A device of its own, or several bundled into one."""
    return exists(place / "device") or exists(place / "bonding")


def _interface(place: Path) -> Interface:
    up = _word(place / "operstate") == "up"
    # the speed of one that is down cannot be read, and some drivers take their time to say so
    speed = _number(place / "speed") if up else None
    return Interface(name=place.name, up=up, speed=speed, mtu=_number(place / "mtu"))


def _port(place: Path, name: str) -> RdmaPort:
    """Its state is told as `4: ACTIVE`, its rate as `400 Gb/sec (4X NDR)`."""
    gigabits = _word(place / "rate").partition(" ")[0]
    return RdmaPort(
        name=name,
        link=_word(place / "link_layer") or "of unknown kind",
        up=_word(place / "state").endswith("ACTIVE"),
        speed=int(float(gigabits) * 1000) if gigabits.replace(".", "", 1).isdigit() else None,
    )


def _word(path: Path) -> str:
    return (text_of(path) or "").strip()


def _number(path: Path) -> int | None:
    """What is not known is told as -1, or cannot be read."""
    word = _word(path)
    return int(word) if word.isdigit() and int(word) else None
