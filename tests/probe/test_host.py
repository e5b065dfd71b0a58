"""The host, against recorded /proc, /sys and /etc trees and real file systems."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from packaging.version import Version

from claimed import decoded
from flash_doctor.model import Absent, Habitat, Host, Unknown, Volume, known
from flash_doctor.probe.host import Allowance, read_allowance, read_habitat, read_host, temp_folder
from flash_doctor.probe.volume import PendingVolume, mount_of, read_mounts, settle
from flash_doctor.system.codec import encode
from flash_doctor.system.process import Command, Completed, Running, SystemRunner

GIB = 1024**3
MEMINFO = "MemTotal:       33554432 kB\nMemFree:         1048576 kB\nMemAvailable:   16777216 kB\n"
V2_MOUNT = "31 23 0:27 {root} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "34 31 0:29 {root} /sys/fs/cgroup/memory rw shared:15 - cgroup cgroup rw,memory\n"
    "35 31 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw shared:16 - cgroup cgroup rw,cpu,cpuacct\n"
)
NO_LIMIT_V1 = "9223372036854771712"
WSL = "5.15.153.1-microsoft-standard-WSL2"


@pytest.fixture(autouse=True)
def no_variables_of_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(name, raising=False)


def record(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(path: str, files: dict[str, str], mount_root: str = "/") -> dict[str, str]:
    tree = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    return {
        "proc/self/cgroup": f"0::{path}\n",
        "proc/self/mountinfo": V2_MOUNT.format(root=mount_root),
        "proc/meminfo": MEMINFO,
        **tree,
    }


def test_this_machine_can_be_read() -> None:
    host = read_host(Path.cwd(), Path.home() / ".cache/flash-doctor/not-there-yet")
    assert isinstance(host, Host)
    assert decoded(Host, encode(host)) == host
    assert host.kernel == os.uname().release
    memory, cores, disk, cache = known(host.memory), known(host.cores), known(host.target_disk), known(host.cache_disk)
    assert memory is not None
    assert 0 < memory.available <= memory.limit <= memory.total
    assert cores is not None
    assert 0 < cores.usable <= cores.logical
    assert disk is not None
    assert 0 <= disk.free <= disk.total
    assert cache is not None
    assert cache.path.name == "not-there-yet"


def test_the_tightest_ancestor_counts(tmp_path: Path) -> None:
    files = {
        "slurm/memory.max": str(8 * GIB),
        "slurm/memory.current": str(6 * GIB),
        "slurm/memory.stat": f"anon {GIB}\ninactive_file {2 * GIB}\nactive_file 5\n",
        "slurm/cpu.max": "400000 100000\n",
        "slurm/job/memory.max": str(20 * GIB),
        "slurm/job/memory.current": str(GIB),
        "slurm/job/cpu.max": "max 100000\n",
        "slurm/job/step/memory.max": "max\n",
        "slurm/job/step/cpu.max": "650000 100000\n",
    }
    allowance = read_allowance(record(tmp_path, v2("/slurm/job/step", files)))
    assert allowance == Allowance(memory=8 * GIB, memory_left=4 * GIB, cores=4.0)


def test_limits_reach_the_host(tmp_path: Path) -> None:
    files = {"memory.max": str(4 * GIB), "memory.current": "0", "cpu.max": "150000 100000\n"}
    host = read_host(None, tmp_path, record(tmp_path, v2("/", files)))
    assert isinstance(host, Host)
    memory, cores = known(host.memory), known(host.cores)
    assert memory is not None
    assert (memory.total, memory.limit, memory.available) == (32 * GIB, 4 * GIB, 4 * GIB)
    assert cores is not None
    assert cores.quota == 1.5
    assert isinstance(host.target_disk, Absent)


def test_no_limit_anywhere(tmp_path: Path) -> None:
    files = {"user.slice/memory.max": "max\n", "user.slice/cpu.max": "max 100000\n"}
    root = record(tmp_path, v2("/user.slice", files))
    assert read_allowance(root) == Allowance(memory=None, memory_left=None, cores=None)
    host = read_host(None, tmp_path, root)
    assert isinstance(host, Host)
    memory = known(host.memory)
    assert memory is not None
    assert (memory.limit, memory.available) == (32 * GIB, 16 * GIB)


@pytest.mark.parametrize("path", ["/docker/abc", "/docker/abc/inner"])
def test_a_container_that_sees_the_hosts_path(tmp_path: Path, path: str) -> None:
    files = {"memory.max": str(2 * GIB), "cpu.max": "200000 100000"}
    root = record(tmp_path, v2(path, files, mount_root="/docker/abc"))
    assert read_allowance(root) == Allowance(memory=2 * GIB, memory_left=2 * GIB, cores=2.0)


def test_a_group_outside_the_namespace_falls_back_on_the_mount(tmp_path: Path) -> None:
    root = record(tmp_path, v2("/../other", {"memory.max": str(GIB)}))
    assert read_allowance(root).memory == GIB


def test_version_1(tmp_path: Path) -> None:
    tree = {
        "proc/self/cgroup": "9:memory:/kubepods/pod1\n4:cpu,cpuacct:/kubepods/pod1\n1:name=systemd:/x\n0::/\n",
        "proc/self/mountinfo": V1_MOUNTS.format(root="/"),
        "sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes": NO_LIMIT_V1,
        "sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes": str(6 * GIB),
        "sys/fs/cgroup/memory/kubepods/memory.usage_in_bytes": str(5 * GIB),
        "sys/fs/cgroup/memory/kubepods/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
        "sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/cpu.cfs_quota_us": "300000\n",
        "sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/kubepods/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/kubepods/cpu.cfs_period_us": "100000\n",
    }
    allowance = read_allowance(record(tmp_path, tree))
    assert allowance == Allowance(memory=6 * GIB, memory_left=2 * GIB, cores=3.0)


@pytest.mark.parametrize("rubbish", ["", "\n\n", "nonsense", "0::", "31 23 - cgroup2", "\udcff"])
def test_rubbish_in_proc_is_no_limit(tmp_path: Path, rubbish: str) -> None:
    for name in ("cgroup", "mountinfo", "mounts"):
        path = tmp_path / "proc/self" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rubbish.encode("utf-8", "surrogateescape"))
    assert read_allowance(tmp_path).memory is None
    host = read_host(None, tmp_path, tmp_path)
    assert isinstance(host, Host)
    assert isinstance(host.memory, Unknown)
    assert isinstance(host.shm, Absent)
    assert isinstance(host.distribution, Absent)


@pytest.mark.parametrize(
    ("files", "kernel", "habitat", "evidence"),
    [
        ({}, "6.8.0-generic", Habitat.BARE, "no trace"),
        ({".dockerenv": ""}, "6.8.0-generic", Habitat.CONTAINER, "/.dockerenv"),
        ({"run/.containerenv": ""}, "6.8.0", Habitat.CONTAINER, "/run/.containerenv"),
        ({"run/systemd/container": "systemd-nspawn\n"}, "6.8.0", Habitat.CONTAINER, "systemd-nspawn"),
        ({"proc/self/cgroup": "0::/kubepods.slice/x\n"}, "6.8.0", Habitat.CONTAINER, "kubepods"),
        ({"proc/self/cgroup": "0::/user.slice/session-1.scope\n"}, "6.8.0", Habitat.BARE, "no trace"),
        ({}, WSL, Habitat.WSL2, WSL),
        ({"run/systemd/container": "wsl\n"}, WSL, Habitat.WSL2, WSL),
        ({".dockerenv": ""}, WSL, Habitat.CONTAINER, "WSL"),
    ],
)
def test_habitat(tmp_path: Path, files: dict[str, str], kernel: str, habitat: Habitat, evidence: str) -> None:
    found, why = read_habitat(record(tmp_path, files), kernel)
    assert found is habitat
    assert evidence in why


@pytest.mark.parametrize("name", ["KUBERNETES_SERVICE_HOST", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"])
def test_habitat_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert read_habitat(tmp_path, "6.8.0") == (Habitat.CONTAINER, f"the variable {name} is set")


def test_kernel_and_distribution_come_from_the_recorded_root(tmp_path: Path) -> None:
    files = {
        "proc/sys/kernel/osrelease": f"{WSL}\n",
        "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\n',
    }
    host = read_host(None, tmp_path, record(tmp_path, files))
    assert isinstance(host, Host)
    assert (host.kernel, host.distribution, host.habitat) == (WSL, "Ubuntu 24.04.1 LTS", Habitat.WSL2)


def test_libc_is_the_one_of_this_process() -> None:
    host = read_host(None, Path("/tmp"))
    assert isinstance(host, Host)
    libc = known(host.libc)
    wanted = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    if wanted:
        assert libc is not None
        assert f"{libc.name} {libc.version}" == wanted
        assert libc.version > Version("2")
    else:
        assert isinstance(host.libc, Unknown)


def test_pips_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "not-there"))
    monkeypatch.setenv("TEMP", str(tmp_path))
    assert temp_folder() == tmp_path


MOUNTS = """/dev/sda1 / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
server:/home {net} nfs4 rw,hard 0 0
auto.data {auto} autofs rw 0 0
server:/data {auto}/set lustre rw 0 0
/dev/sdb1 {spaced} xfs rw 0 0
"""


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A root whose table calls some real folders network file systems."""
    for name in ("net", "auto", "with space", "local"):
        (tmp_path / name).mkdir()
    spaced = str(tmp_path / "with space").replace(" ", "\\040")
    table = MOUNTS.format(net=tmp_path / "net", auto=tmp_path / "auto", spaced=spaced)
    return record(tmp_path, {"proc/self/mounts": table})


@dataclass
class Slow:
    """A runner under which every program sleeps, as statvfs on a dead server does."""

    inner: SystemRunner

    def start(self, command: Command) -> Running:
        return self.inner.start(replace(command, argv=("sleep", "60"), timeout=0.3))

    def run(self, command: Command) -> Completed:
        return self.start(command).wait()


def test_the_deepest_mount_holds_a_path(mounted: Path) -> None:
    mounts = read_mounts(mounted)
    assert mount_of(mounted / "auto/set/x", mounts).filesystem == "lustre"
    assert mount_of(mounted / "auto/other", mounts).filesystem == "autofs"
    assert mount_of(mounted / "with space/x", mounts).filesystem == "xfs"
    assert mount_of(mounted / "local", mounts).filesystem == "ext4"


def test_links_are_followed_up_to_the_network_and_not_into_it(mounted: Path) -> None:
    (mounted / "local/cache").symlink_to(mounted / "net/cache")
    (mounted / "net/cache").symlink_to("/proc")  # not to be read
    (mounted / "local/back").symlink_to("../with space")
    mounts = read_mounts(mounted)
    place, mount = settle(mounted / "local/cache/pip", mounts)
    assert (place, mount.filesystem) == (mounted / "net/cache/pip", "nfs4")
    assert settle(mounted / "local/back/x", mounts)[0] == mounted / "with space/x"


def test_a_circle_of_links_ends(mounted: Path) -> None:
    (mounted / "local/one").symlink_to("two")
    (mounted / "local/two").symlink_to("one")
    assert settle(mounted / "local/one", read_mounts(mounted))[1].filesystem == "ext4"


def test_a_network_file_system_is_measured_by_a_child(mounted: Path) -> None:
    volume = PendingVolume(mounted / "net/not/there/yet", read_mounts(mounted), SystemRunner()).finish()
    assert isinstance(volume, Volume)
    assert volume.filesystem == "nfs4"
    assert volume.total == local_volume(mounted).total


def local_volume(folder: Path) -> Volume:
    volume = PendingVolume(folder, (), SystemRunner()).finish()
    assert isinstance(volume, Volume)
    return volume


def test_a_dead_server_is_unknown_within_the_limit(mounted: Path) -> None:
    started = time.monotonic()
    volume = PendingVolume(mounted / "net", read_mounts(mounted), Slow(SystemRunner())).finish()
    assert time.monotonic() - started < 3
    assert isinstance(volume, Unknown)
    assert "nfs4" in volume.unknown
    assert "does not answer" in volume.unknown


def test_one_dead_disk_does_not_cost_the_others(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(mounted / "local"))
    host = read_host(mounted / "net/venv", mounted / "local", mounted, runner=Slow(SystemRunner()))
    assert isinstance(host, Host)
    assert isinstance(host.target_disk, Unknown)
    assert isinstance(host.temp_disk, Volume)
    assert isinstance(host.cache_disk, Volume)
