"""The host: memory, cores and /dev/shm, with what the control groups above this process allow of them."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from flash_doctor.model import Absent, Cores, Habitat, Host, Libc, Memory, Part, Unknown
from flash_doctor.probe.files import exists, names_in, text_of, version_in
from flash_doctor.probe.network import read_network
from flash_doctor.probe.volume import PendingVolume, read_mounts
from flash_doctor.system.process import SystemRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.process import Runner


_FIELD = re.compile(r"(\w+) (\d+)")


class Allowance(NamedTuple):
    """Bytes of memory, bytes of it still free, and cores; None where no group sets a limit."""

    memory: int | None
    memory_left: int | None
    cores: float | None


class _Hierarchy(NamedTuple):
    """One mounted cgroup tree; `path` is this process's group in it, `root` the group at the mount point."""

    point: Path
    root: str
    path: str

    def groups(self) -> list[Path]:
        """Our group and its ancestors, as folders. In a namespace the path may lie above what is mounted."""
        try:
            inner = PurePosixPath(self.path).relative_to(self.root)
        except ValueError:
            inner = PurePosixPath()
        if ".." in inner.parts:
            inner = PurePosixPath()
        return [self.point / part for part in (inner, *inner.parents)]


def read_allowance(root: Path = Path("/")) -> Allowance:
    """The tightest limits over every group that this process is in."""
    memory: list[tuple[int, int]] = []
    cores: list[float] = []
    for controllers, tree in _hierarchies(root):
        for group in tree.groups():
            if controllers & {"", "memory"}:
                memory += _memory_limit(group)
            if controllers & {"", "cpu"}:
                cores += _quota(group)
    return Allowance(
        memory=min((limit for limit, _ in memory), default=None),
        memory_left=min((max(0, limit - used) for limit, used in memory), default=None),
        cores=min(cores, default=None),
    )


def _hierarchies(root: Path) -> Iterator[tuple[set[str], _Hierarchy]]:
    """(controllers, tree) of each; version 2 has the one empty name, as in /proc/self/cgroup."""
    mounts = list(_mounts(text_of(root / "proc/self/mountinfo") or ""))
    for line in (text_of(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        controllers = set(names.split(","))
        for kind, options, mount_root, point in mounts:
            if (kind == "cgroup2") if names == "" else (kind == "cgroup" and controllers <= options):
                yield controllers, _Hierarchy(point=root / point.lstrip("/"), root=mount_root, path=path)
                break


def _mounts(mountinfo: str) -> Iterator[tuple[str, set[str], str, str]]:
    """(type, options, root, mount point) of the cgroup mounts; proc(5) describes the fields."""
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields, (kind, *rest) = before.split(), (after.split() or [""])
        if dash and kind.startswith("cgroup") and len(fields) > 4:
            yield kind, set((rest or [""])[-1].split(",")), fields[3], fields[4]


def _memory_limit(group: Path) -> list[tuple[int, int]]:
    """(limit, used) of a group with a limit; what the page cache could give back does not count as used."""
    for limit_file, used_file in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        limit = _number(text_of(group / limit_file))
        if limit is not None:
            used = _number(text_of(group / used_file)) or 0
            return [(limit, max(0, used - _reclaimable(group)))]
    return []


def _reclaimable(group: Path) -> int:
    stat: dict[str, str] = dict(_FIELD.findall(text_of(group / "memory.stat") or ""))
    return int(stat.get("total_inactive_file", stat.get("inactive_file", "0")))


def _quota(group: Path) -> list[float]:
    """CPU time per wall time: `cpu.max` is "quota period" or "max period"; version 1 has a file for each."""
    text = text_of(group / "cpu.max")
    if text is None:
        text = f"{text_of(group / 'cpu.cfs_quota_us')} {text_of(group / 'cpu.cfs_period_us')}"
    quota, period = ([_number(word) for word in text.split()] + [None, None])[:2]
    return [quota / period] if quota and period and quota > 0 else []


def _number(text: str | None) -> int | None:
    """None for "max" and for what is not there."""
    try:
        return int(text or "")
    except ValueError:
        return None


_NAME = re.compile(r'^PRETTY_NAME=["\']?(.*?)["\']?$', re.MULTILINE)
_MEMINFO = re.compile(r"^(MemTotal|MemAvailable|MemFree):\s+(\d+) kB", re.MULTILINE)
_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv", "/.singularity.d", "/var/run/secrets/kubernetes.io")
_CONTAINER_VARIABLES = ("KUBERNETES_SERVICE_HOST", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
_CONTAINER_GROUP = re.compile(r"docker|kubepods|containerd|libpod|crio|lxc", re.IGNORECASE)
# the order in which Python's tempfile looks, and with it pip
_TEMP_VARIABLES = ("TMPDIR", "TEMP", "TMP")
_TEMP_FOLDERS = ("/tmp", "/var/tmp", "/usr/tmp")


def read_host(
    target_prefix: Path | None, cache: Path, root: Path = Path("/"), *, runner: Runner | None = None
) -> Part[Host]:
    """The host; each field can fail alone.

    Args:
        target_prefix: folder whose disk an installation fills; None without a target.
        cache: folder of downloads.
        root: where /proc, /sys, /etc and /dev are looked for.
        runner: starts the children that ask network file systems.
    """
    runner = runner or SystemRunner()
    mounts = read_mounts(root)
    temp, cache_disk = (PendingVolume(folder, mounts, runner) for folder in (temp_folder(), cache))
    target = PendingVolume(target_prefix, mounts, runner) if target_prefix else None
    system = os.uname()
    kernel = (text_of(root / "proc/sys/kernel/osrelease") or system.release).strip()
    habitat, evidence = read_habitat(root, kernel)
    allowance = read_allowance(root)
    return Host(
        system=system.sysname,
        kernel=kernel,
        machine=system.machine,
        hostname=system.nodename,
        distribution=_distribution(root),
        habitat=habitat,
        habitat_evidence=evidence,
        libc=_libc(root),
        memory=_memory(root, allowance),
        cores=_cores(allowance),
        shm=PendingVolume(root / "dev/shm", mounts, runner).finish() if exists(root / "dev/shm") else _NO_SHM,
        target_disk=target.finish() if target else Absent(absent="there is no target to install into"),
        temp_disk=temp.finish(),
        cache_disk=cache_disk.finish(),
        network=read_network(root),
    )


_NO_SHM = Absent(absent="/dev/shm does not exist")


def temp_folder() -> Path:
    """Where pip unpacks and builds: found as tempfile does, without its test file and its import."""
    named = [os.environ[name] for name in _TEMP_VARIABLES if os.environ.get(name)]
    return next((Path(folder) for folder in (*named, *_TEMP_FOLDERS) if os.access(folder, os.W_OK)), Path("/tmp"))


def _distribution(root: Path) -> Part[str]:
    for file in ("etc/os-release", "usr/lib/os-release"):
        found = _NAME.search(text_of(root / file) or "")
        if found:
            return found[1]
    return Absent(absent="no PRETTY_NAME in os-release")


def _libc(root: Path) -> Part[Libc]:
    """Glibc as the running program has it; musl, for which most wheels are not built, by its loader's file."""
    name, _, version = (_confstr() or "").partition(" ")
    number = version_in(version)
    if name and isinstance(number, Version):
        return Libc(name=name, version=number)
    musl = [file for file in names_in(root / "lib") if file.startswith("ld-musl-")]
    return Unknown(unknown=f"the C library is musl ({musl[0]})" if musl else "the C library does not tell its version")


def _confstr() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None


def _memory(root: Path, allowance: Allowance) -> Part[Memory]:
    # read here: importing psutil costs 15 ms, and it knows nothing of control groups
    sizes = {name: int(kilobytes) * 1024 for name, kilobytes in _MEMINFO.findall(text_of(root / "proc/meminfo") or "")}
    total = sizes.get("MemTotal")
    if total is None:
        return Unknown(unknown="/proc/meminfo does not tell the memory")
    free = sizes.get("MemAvailable", sizes.get("MemFree", 0))
    limit = min(total, total if allowance.memory is None else allowance.memory)
    left = limit if allowance.memory_left is None else allowance.memory_left
    return Memory(total=total, limit=limit, available=min(free, left))


def _cores(allowance: Allowance) -> Part[Cores]:
    logical = os.cpu_count()
    if logical is None:
        return Unknown(unknown="the system does not tell its cores")
    # cpusets of containers and taskset both show in the affinity
    return Cores(logical=logical, usable=len(os.sched_getaffinity(0)), quota=allowance.cores)


def read_habitat(root: Path, kernel: str) -> tuple[Habitat, str]:
    """Bare, container or WSL2, and by what it is known. A container under WSL2 is a container."""
    wsl = "microsoft" in kernel.lower()
    trace = _container_trace(root)
    if trace:
        return Habitat.CONTAINER, f"{trace}; the kernel is WSL's ({kernel})" if wsl else trace
    if wsl:
        return Habitat.WSL2, f"the kernel is {kernel}"
    return Habitat.BARE, "no trace of a container, and the kernel is not WSL's"


def _container_trace(root: Path) -> str:
    for file in _CONTAINER_FILES:
        if exists(root / file[1:]):
            return f"{file} exists"
    manager = (text_of(root / "run/systemd/container") or "").strip()
    if manager and manager != "wsl":  # systemd writes "wsl" there, which is no container
        return f"/run/systemd/container says {manager}"
    for name in _CONTAINER_VARIABLES:
        if name in os.environ:
            return f"the variable {name} is set"
    group = _CONTAINER_GROUP.search(text_of(root / "proc/self/cgroup") or "")
    return f"/proc/self/cgroup names {group[0]}" if group else ""
