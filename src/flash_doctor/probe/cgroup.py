"""What the control groups above this process allow: versions 1 and 2, the least of all ancestors."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.probe.files import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

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
                memory += _memory(group)
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


def _memory(group: Path) -> list[tuple[int, int]]:
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
