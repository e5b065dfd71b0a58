"""H: the machine around the environment: disk, temp folder and shared memory."""

from __future__ import annotations

from collections.abc import Iterator

from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import Absent, Family, Habitat, Host, OtherDoctor, Severity, Unknown, Volume, known
from flash_doctor.rules.engine import CouldNotLook, Found, need
from flash_doctor.system.commands import advice, command

GIB = 2**30


def gib(size: int) -> str:
    """Bytes as people say them: 64 MiB, 1.5 GiB, 960 GiB."""
    if size < GIB:
        return f"{size / 2**20:.0f} MiB"
    return f"{size / GIB:.1f} GiB" if size < 10 * GIB else f"{size / GIB:.0f} GiB"


@check("H101", Family.HOST, host_only=True)
def disk_filling_up(host: Host, facts: Facts) -> Iterator[Found]:
    """A disk that training writes to is filling up.

    Checkpoints with optimizer state take tens of gigabytes each. A run that meets a full disk dies while it saves, and
    what it was saving is lost; torch hides the reason behind `inline_container.cc` or `unexpected pos`. The disks of
    the environment and of the cache folder (models, wheels) are looked at.

    Check by hand: `df -h` on the folder that the finding names.

    What to do: remove old checkpoints and caches, or write to another disk, before the run starts.
    """
    warning, error = facts.companions.limits["disk_warning"], facts.companions.limits["disk_error"]
    for role, volume in _disks(host):
        if volume.used_share > warning.share:
            full = volume.used_share > error.share
            yield Found(
                severity=Severity.ERROR if full else Severity.WARNING,
                subject=str(volume.path),
                summary=f"the disk of {role} is {volume.used_share:.0%} full, {gib(volume.free)} are left",
                evidence=(
                    f"{volume.path} ({volume.filesystem}): {gib(volume.free)} free of {gib(volume.total)}",
                    f"more than {(error if full else warning).share:.0%}: {(error if full else warning).why}",
                ),
                remedy=advice(
                    "Free space: see what is large, then remove old checkpoints and caches.",
                    command("df -h {}", volume.path),
                    command("du -xh --max-depth=2 {} | sort -h | tail", volume.path),
                ),
            )


def _disks(host: Host) -> list[tuple[str, Volume]]:
    """The disks that could be read, one disk once."""
    parts = {"the environment": host.target_disk, "the cache folder": host.cache_disk}
    unread = [part.unknown for part in parts.values() if isinstance(part, Unknown)]
    volumes = [(role, part) for role, part in parts.items() if isinstance(part, Volume)]
    if unread and not volumes:
        raise CouldNotLook(unread[0])
    return list({(volume.total, volume.free): (role, volume) for role, volume in reversed(volumes)}.values())


@check("H102", Family.HOST, host_only=True)
def temp_too_small(host: Host, facts: Facts) -> Iterator[Found]:
    """There is little room in the temp folder.

    pip and uv unpack wheels there, and compilers write there. torch and the CUDA libraries need several gigabytes of it
    even when the disk of the environment is empty: often `/tmp` is a small disk of its own, or memory. An install that
    meets a full temp folder ends in `No space left on device`, sometimes half way.

    Check by hand: `df -h /tmp` (or `$TMPDIR`).

    What to do: point TMPDIR at a folder with room before installing.
    """
    volume = need(host.temp_disk, absent=None)
    limit = facts.companions.limits["temp"]
    if volume and volume.free < limit.size:
        yield Found(
            severity=Severity.WARNING,
            subject=str(volume.path),
            summary=f"the temp folder has {gib(volume.free)} left; {limit.why}",
            evidence=(f"{volume.path} ({volume.filesystem}): {gib(volume.free)} free of {gib(volume.total)}",),
            remedy=advice(
                "Use a temp folder on a larger disk.",
                command('mkdir -p "$HOME/tmp"'),
                command('export TMPDIR="$HOME/tmp"'),
            ),
        )


@check("H103", Family.HOST, host_only=True)
def shared_memory_small(host: Host, facts: Facts) -> Iterator[Found]:
    """Shared memory (/dev/shm) is small.

    Worker processes of a data loader hand their batches over in /dev/shm, and NCCL uses it between the GPUs of a node.
    Docker gives a container 64 MB of it. Too little ends in `Bus error`, `DataLoader worker is killed by signal`, or an
    NCCL error that names `/dev/shm/nccl-…`.

    Check by hand: `df -h /dev/shm`.

    What to do: start the container with more, or mount a larger one.
    """
    volume = need(host.shm, absent=None)
    limit = facts.companions.limits["shm"]
    if volume is None or volume.total < limit.size:
        size = gib(volume.total) if volume else "missing"
        contained = host.habitat is Habitat.CONTAINER
        yield Found(
            severity=Severity.WARNING,
            subject="/dev/shm",
            summary=f"shared memory is {size}; {limit.why}",
            evidence=(f"df /dev/shm: {size} in all", f"{host.habitat.value}: {host.habitat_evidence}"),
            remedy=advice(
                "Give it more: in Kubernetes an emptyDir of medium Memory at /dev/shm; outside of one:",
                (
                    command("docker run --shm-size=16g …")
                    if contained
                    else command("sudo mount -o remount,size=50% /dev/shm")
                ),
            ),
        )


@check("H104", Family.HOST, host_only=True)
def another_doctor(other_doctor: OtherDoctor | Absent) -> Iterator[Found]:
    """The program named doctor on PATH is not this one.

    flash-doctor installs itself under two names, `flash-doctor` and, shorter, `doctor`. Another package of the index,
    env-doctor, installs a program named `doctor` too. In one environment the last one installed wins, and uninstalling
    either takes the other's program away.

    Check by hand: `command -v doctor`, then look into that file: its import names the package.

    What to do: call this one `flash-doctor`, which nobody else does; keep the two in environments of their own.
    """
    if isinstance(other_doctor, Absent):
        return
    owner = known(other_doctor.owner)
    yield Found(
        severity=Severity.INFO,
        subject="doctor",
        summary=f"the command `doctor` runs {owner or 'another program'}, not flash-doctor",
        evidence=(f"{other_doctor.path} comes first on PATH and does not import flash_doctor",),
        remedy=advice("Nothing must be done; call this one by its longer name.", command("flash-doctor --help")),
    )
