"""Interfaces and RDMA ports from a /sys that is written as the kernel writes it."""

from __future__ import annotations

from pathlib import Path

from flash_doctor.model import Absent
from flash_doctor.model.machine import Interface, Network, RdmaPort
from flash_doctor.probe.network import read_network


def write(place: Path, **files: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text + "\n")


def interface(root: Path, name: str, *, hardware: str = "device", **files: str) -> None:
    place = root / "sys/class/net" / name
    write(place, **files)
    if hardware:
        (place / hardware).mkdir()


def test_only_what_has_hardware_behind_it_is_told(tmp_path: Path) -> None:
    interface(tmp_path, "eth0", operstate="up", speed="25000", mtu="9000")
    interface(tmp_path, "eth1", operstate="down", mtu="1500")
    interface(tmp_path, "bond0", hardware="bonding", operstate="up", speed="50000", mtu="9000")
    interface(tmp_path, "virtual0", operstate="up", speed="-1", mtu="1500")
    interface(tmp_path, "lo", hardware="", operstate="unknown", mtu="65536")
    interface(tmp_path, "docker0", hardware="", operstate="up", speed="10000", mtu="1500")
    found = read_network(tmp_path)
    assert isinstance(found, Network)
    assert found.interfaces == (
        Interface(name="bond0", up=True, speed=50000, mtu=9000),
        Interface(name="eth0", up=True, speed=25000, mtu=9000),
        Interface(name="eth1", up=False, speed=None, mtu=1500),
        Interface(name="virtual0", up=True, speed=None, mtu=1500),
    )
    assert found.rdma == ()


def test_rdma_ports(tmp_path: Path) -> None:
    interface(tmp_path, "eth0", operstate="up", speed="1000", mtu="1500")
    adapters = tmp_path / "sys/class/infiniband"
    write(adapters / "mlx5_0/ports/1", state="4: ACTIVE", rate="400 Gb/sec (4X NDR)", link_layer="InfiniBand")
    write(adapters / "mlx5_1/ports/1", state="1: DOWN", rate="2.5 Gb/sec (1X SDR)", link_layer="Ethernet")
    write(adapters / "odd/ports/1", state="4: ACTIVE", rate="fast")
    found = read_network(tmp_path)
    assert isinstance(found, Network)
    assert found.rdma == (
        RdmaPort(name="mlx5_0:1", link="InfiniBand", up=True, speed=400_000),
        RdmaPort(name="mlx5_1:1", link="Ethernet", up=False, speed=2500),
        RdmaPort(name="odd:1", link="of unknown kind", up=True, speed=None),
    )


def test_a_system_without_the_folder(tmp_path: Path) -> None:
    assert isinstance(read_network(tmp_path), Absent)


def test_this_machine_is_read() -> None:
    assert isinstance(read_network(Path("/")), (Network, Absent))
