"""Driver and GPUs, against a real libnvidia-ml.so.1 compiled here from nvml/machine.c; nothing is patched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import packaging
import pynvml
import pytest
from packaging.version import Version

import flash_doctor
from claimed import decoded
from fakes import TableRunner, printed
from flash_doctor.errors import TimedOut
from flash_doctor.model import Absent, Capability, Driver, Gpu, Gpus, GpuSource, Part, Unknown, known
from flash_doctor.probe.gpu import relevant_variables, start_gpus
from flash_doctor.probe.loader import compat_library
from flash_doctor.system.codec import encode
from flash_doctor.system.process import Command, Running, SystemRunner

GIB = 1024**3
SOURCE = Path(__file__).parent / "nvml" / "machine.c"
ERRORS = {
    value: name
    for name, value in vars(pynvml).items()
    if name.startswith("NVML_ERROR_") and isinstance(value, int) and value > 0
}
OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder)\n"
CLOSED_MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Wed Jan  8 16:12:00 UTC 2025\nGCC version: 12.2\n"
INFORMATION = """Model: \t\t NVIDIA H200
IRQ:   \t\t 421
GPU UUID: \t GPU-3f0d9a52-0000-1111-2222-333333333333
Video BIOS: \t ??.??.??.??.??
Bus Type: \t PCIe
Bus Location: \t 0000:19:00.0
Device Minor: \t 0
"""

Machine = Callable[..., Path]


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library as a driver package lays it out: a versioned file and a link to it."""
    folder = tmp_path_factory.mktemp("driver")
    file = folder / "libnvidia-ml.so.570.86.15"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", file, SOURCE], check=True)
    (folder / "libnvidia-ml.so.1").symlink_to(file.name)
    return folder


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A root with an empty PCI bus and no trace of NVIDIA, whatever the machine that runs the tests has."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "cat").symlink_to("/bin/cat")
    monkeypatch.setenv("PATH", str(tools))
    root = tmp_path / "root"
    (root / "sys/bus/pci/devices").mkdir(parents=True)
    return root


@pytest.fixture
def machine(bare: Path, nvml_library: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes the library answer as a machine; further settings are the variables of machine.c."""

    def become(name: str, module: str = "570.86.15", **settings: object) -> Path:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(nvml_library))
        monkeypatch.setenv("FAKE_NVML_MACHINE", name)
        for key, value in settings.items():
            monkeypatch.setenv(f"FAKE_NVML_{key.upper()}", str(value))
        if module:
            write(bare / "proc/driver/nvidia/version", OPEN_MODULE.format(module))
        return bare

    return become


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def put_on_bus(root: Path, *, address: str = "0000:19:00.0", vendor: str = "0x10de", kind: str = "0x030200") -> None:
    write(root / "sys/bus/pci/devices" / address / "vendor", f"{vendor}\n")
    write(root / "sys/bus/pci/devices" / address / "class", f"{kind}\n")


def look(root: Path, limit: float = 15.0) -> tuple[Part[Driver], Part[Gpus]]:
    driver, gpus = start_gpus(SystemRunner(), root=root, limit=limit).finish()
    for part, kind in ((driver, Driver), (gpus, Gpus)):
        assert decoded(kind, encode(part)) == part if isinstance(part, kind) else part
    return driver, gpus


def look_well(root: Path) -> tuple[Driver, tuple[Gpu, ...]]:
    driver, gpus = look(root)
    assert isinstance(driver, Driver)
    assert isinstance(gpus, Gpus)
    assert driver.source is gpus.source is GpuSource.NVML
    assert isinstance(driver.failure, Absent)
    return driver, gpus.devices


def test_h200(machine: Machine) -> None:
    driver, (gpu,) = look_well(machine("h200"))
    assert driver.version == driver.module == driver.library == Version("570.86.15")
    assert driver.max_cuda == Version("12.8")
    assert driver.open_module is True
    assert gpu.name == "NVIDIA H200"
    assert gpu.uuid == "GPU-aa000001-1111-2222-3333-444444444444"
    assert gpu.bus_id == "00000000:01:00.0"
    assert gpu.memory == 141 * GIB
    assert gpu.memory_used == 512 * 1024**2
    assert gpu.capability == Capability(major=9, minor=0)
    assert gpu.ecc is True
    assert gpu.mig is False
    assert gpu.visible is True
    assert isinstance(gpu.fabric, Absent)
    processes = known(gpu.processes)
    assert processes is not None
    assert [process.pid for process in processes] == [4000, 4001]
    assert processes[0].memory == 7 * GIB
    assert isinstance(processes[1].memory, Unknown)


def test_eight_gpus_whose_fabric_is_not_ready(machine: Machine) -> None:
    root = machine("hgx")
    for index in range(4):
        (root / f"proc/driver/nvidia-nvswitch/devices/{index}").mkdir(parents=True)
    write(root / "proc/2/comm", "kthreadd\n")
    driver, gpus = look_well(root)
    assert [gpu.index for gpu in gpus] == list(range(8))
    assert {gpu.fabric for gpu in gpus} == {"in progress"}
    assert driver.nvswitches == 4
    assert isinstance(driver.fabric_manager, Absent)


def test_a_running_fabric_manager_is_seen(machine: Machine) -> None:
    root = machine("hgx-ready")
    write(root / "dev/nvidia-nvswitch0", "")
    write(root / "dev/nvidia-nvswitchctl", "")
    write(root / "proc/812/comm", "nv-fabricmanage\n")
    driver, gpus = look_well(root)
    assert driver.fabric_manager == "running (pid 812)"
    assert driver.nvswitches == 1
    assert gpus[0].fabric == "completed"


def test_a_container_hides_the_fabric_manager(machine: Machine) -> None:
    root = machine("hgx")
    write(root / "proc/1/comm", "bash\n")
    driver, _ = look_well(root)
    assert isinstance(driver.fabric_manager, Unknown)


def test_rtx5090_has_neither_ecc_nor_mig(machine: Machine) -> None:
    driver, (gpu,) = look_well(machine("rtx5090"))
    assert gpu.capability == Capability(major=12, minor=0)
    assert isinstance(gpu.ecc, Absent)
    assert isinstance(gpu.mig, Absent)
    assert isinstance(driver.fabric_manager, Absent)


def test_t4(machine: Machine) -> None:
    driver, (gpu,) = look_well(machine("t4"))
    assert gpu.capability == Capability(major=7, minor=5)
    assert driver.max_cuda == Version("12.2")


def test_mig_slices(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine("mig")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-aa000066")
    _, (gpu,) = look_well(root)
    assert gpu.mig is True
    assert [slice_.uuid[:12] for slice_ in gpu.mig_devices] == ["MIG-aa000064", "MIG-aa000066"]
    assert gpu.mig_devices[0].memory == 10 * GIB
    assert gpu.mig_devices[0].name == "NVIDIA A100-SXM4-80GB MIG 1g.10gb"
    assert gpu.visible is True


def test_unified_memory_is_unknown_not_a_crash(machine: Machine) -> None:
    _, (gpu,) = look_well(machine("gb10"))
    assert gpu.memory == Unknown(unknown="NVML_ERROR_NOT_SUPPORTED (3)")
    assert isinstance(gpu.memory_used, Unknown)
    assert gpu.capability == Capability(major=12, minor=1)


def test_no_gpu_under_a_working_driver(machine: Machine) -> None:
    root = machine("h200", count=0)
    driver, gpus = look(root)
    assert isinstance(driver, Driver)
    assert isinstance(gpus, Absent)
    put_on_bus(root)
    _, gpus = look(root)
    assert isinstance(gpus, Gpus)
    assert gpus.devices == ()
    assert gpus.on_bus == 1


def each_error(machine: Machine, place: str) -> Iterator[tuple[int, str, Part[Driver], Part[Gpus]]]:
    """Every error code of NVML at one place, all children at once: (code, as we say it, driver, GPUs)."""
    pending = {code: start_gpus(SystemRunner(), root=machine("h200", **{place: code})) for code in ERRORS}
    answers = {code: question.finish() for code, question in pending.items()}
    assert len(answers) > 30
    for code, (driver, gpus) in answers.items():
        yield code, f"{ERRORS[code]} ({code})", driver, gpus


# what a user of the GPUs can bring about: no memory is left, a lock is held
PASSING = {
    pynvml.NVML_ERROR_MEMORY,
    pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES,
    pynvml.NVML_ERROR_TIMEOUT,
    pynvml.NVML_ERROR_IN_USE,
    pynvml.NVML_ERROR_NOT_READY,
}


def test_every_error_of_nvml_at_its_start(machine: Machine) -> None:
    for code, said, driver, gpus in each_error(machine, "init"):
        assert isinstance(driver, Driver), said
        assert driver.failure == (Unknown(unknown=said) if code in PASSING else said)
        assert driver.module == driver.library == Version("570.86.15")
        assert isinstance(gpus, Absent if code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED else Unknown), said


def test_every_error_of_nvml_at_a_device(machine: Machine) -> None:
    for code, said, driver, gpus in each_error(machine, "device"):
        assert isinstance(driver, Driver), said
        assert driver.max_cuda == Version("12.8")
        assert isinstance(gpus, Gpus), said
        (gpu,) = gpus.devices
        assert said in gpu.name
        assert gpu.uuid == gpu.memory == gpu.capability == gpu.processes == Unknown(unknown=said)
        unsupported = code == pynvml.NVML_ERROR_NOT_SUPPORTED
        assert gpu.ecc == gpu.fabric == (Absent(absent=said) if unsupported else Unknown(unknown=said))


def test_one_lost_gpu_does_not_cost_the_others(machine: Machine) -> None:
    _, gpus = look_well(machine("hgx", handle=pynvml.NVML_ERROR_GPU_IS_LOST))
    assert len(gpus) == 8
    assert gpus[7].memory == Unknown(unknown="NVML_ERROR_GPU_IS_LOST (15)")
    assert gpus[6].memory == 80 * GIB


def test_library_and_module_out_of_step(machine: Machine) -> None:
    root = machine("h200", module="560.35.03", init=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    write(root / "proc/driver/nvidia/gpus/0000:19:00.0/information", INFORMATION)
    driver, gpus = look(root)
    assert isinstance(driver, Driver)
    assert (driver.module, driver.library) == (Version("560.35.03"), Version("570.86.15"))
    assert driver.failure == "NVML_ERROR_LIB_RM_VERSION_MISMATCH (18)"
    assert isinstance(gpus, Gpus)
    assert gpus.devices[0].uuid == "GPU-3f0d9a52-0000-1111-2222-333333333333"


def test_library_without_a_kernel_module(machine: Machine) -> None:
    root = machine("h200", module="", init=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    put_on_bus(root)
    driver, gpus = look(root)
    assert isinstance(driver, Driver)
    assert isinstance(driver.module, Absent)
    assert driver.library == Version("570.86.15")
    assert isinstance(gpus, Gpus)
    assert (gpus.devices, gpus.on_bus) == ((), 1)


def test_wsl_has_no_proc_driver_but_a_driver(machine: Machine) -> None:
    root = machine("rtx5090", module="")
    write(root / "dev/dxg", "")
    driver, gpus = look(root)
    assert isinstance(driver, Driver)
    assert driver.module == Version("575.57.08")
    assert isinstance(driver.open_module, Absent)
    assert isinstance(gpus, Gpus)
    assert gpus.device_nodes == ("/dev/dxg",)


def test_the_library_of_wsl_outside_the_loaders_folders(
    bare: Path, nvml_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bare / "usr/lib/wsl/lib"
    folder.mkdir(parents=True)
    (folder / "libnvidia-ml.so.1").write_bytes((nvml_library / "libnvidia-ml.so.1").read_bytes())
    monkeypatch.setenv("FAKE_NVML_MACHINE", "rtx5090")
    driver, _ = look_well(bare)
    assert driver.library == Version("575.57.08"), "its file name has no version, NVML itself has"


def test_a_driver_that_does_not_answer_is_abandoned(machine: Machine) -> None:
    """It may hang, or be busy with what others ask of it: nobody knows, since the asking process could be ended."""
    root = machine("h200", hang="nvmlInitWithFlags")
    write(root / "proc/driver/nvidia/gpus/0000:19:00.0/information", INFORMATION)
    started = time.monotonic()
    driver, gpus = look(root, limit=0.5)
    assert time.monotonic() - started < 5
    assert isinstance(driver, Driver)
    assert driver.source is GpuSource.PROC
    assert driver.module == Version("570.86.15")
    assert isinstance(driver.failure, Unknown)
    assert "did not end within 0.5 seconds" in driver.failure.unknown
    assert isinstance(gpus, Gpus)
    assert gpus.devices[0].name == "NVIDIA H200"


def test_a_hanging_driver_of_which_the_kernel_tells_nothing(machine: Machine) -> None:
    driver, gpus = look(machine("h200", module="", hang="nvmlDeviceGetCount_v2"), limit=0.5)
    assert isinstance(driver, Unknown)
    assert "did not end" in driver.unknown
    assert isinstance(gpus, Absent)


def test_a_crash_in_the_library_costs_only_the_answer(machine: Machine) -> None:
    driver, gpus = look(machine("h200", crash="nvmlDeviceGetMemoryInfo"))
    assert isinstance(driver, Driver)
    assert "signal 11" in (known(driver.failure) or "")
    assert isinstance(gpus, Unknown)


@pytest.mark.parametrize("rubbish", ["", "not JSON", "[]", "7", '{"failure": "x"}', '{"failure": {"absent": 1}}'])
def test_rubbish_from_the_child_is_unknown(machine: Machine, rubbish: str) -> None:
    pending = start_gpus(TableRunner({"-c": printed(rubbish, returncode=3, errors="boom")}), root=machine("h200", ""))
    driver, _ = pending.finish()
    assert isinstance(driver, Unknown)
    assert "exit code 3: boom" in driver.unknown


def test_a_child_that_cannot_be_started_is_unknown(machine: Machine) -> None:
    driver, gpus = start_gpus(TableRunner(), root=machine("h200")).finish()
    assert isinstance(driver, Driver)
    assert isinstance(driver.failure, Unknown)
    assert "could not be started" in driver.failure.unknown
    assert isinstance(gpus, Unknown)


MARK = b"the driver is asked\n"


def late(root: Path, **end: Any) -> Part[str]:
    """What is said of the driver where the child that asks it did not end in time, in the given manner."""
    stopped = TimedOut("python did not end within 15 seconds", **end)
    driver, _ = start_gpus(TableRunner({"-c": stopped}), root=root).finish()
    assert isinstance(driver, Driver)
    return driver.failure


def test_a_driver_that_sigkill_cannot_free_us_from_hangs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of this test stands for one that stays though it was killed."""
    monkeypatch.setattr("flash_doctor.probe.nvml_query._TURN", 0.2)
    root, stuck = machine("h200"), os.getpid()
    assert known(late(root, stdout=MARK, lingering=stuck)) == (
        "NVML hangs: python did not end within 15 seconds, and SIGKILL does not end it"
    )
    # starved of cores; stuck before the driver was asked; ended after all
    assert isinstance(late(root, stdout=MARK, lingering=stuck, queued=7.0), Unknown)
    assert isinstance(late(root, stdout=b"", lingering=stuck), Unknown)
    with subprocess.Popen(["/bin/sleep", "60"]) as ended:
        ended.kill()
        assert isinstance(late(root, stdout=MARK, lingering=ended.pid), Unknown)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_child_that_was_ended_by_others_says_nothing_of_the_driver(machine: Machine, number: int) -> None:
    """As the kernel ends one where no memory is left."""
    ended = printed(MARK.decode(), returncode=-number)
    driver, gpus = start_gpus(TableRunner({"-c": ended}), root=machine("h200")).finish()
    assert isinstance(driver, Driver)
    assert isinstance(driver.failure, Unknown)
    assert isinstance(gpus, Unknown)


def test_a_crash_before_the_driver_is_asked_is_ours(machine: Machine) -> None:
    for said, kind in (("", Unknown), (MARK.decode(), str)):
        crashed = printed(said, returncode=-signal.SIGABRT)
        driver, _ = start_gpus(TableRunner({"-c": crashed}), root=machine("h200")).finish()
        assert isinstance(driver, Driver)
        assert isinstance(driver.failure, kind)


class Narrow(SystemRunner):
    """Starts commands that may map one gigabyte."""

    def start(self, command: Command) -> Running:
        narrow = ("/bin/sh", "-c", 'ulimit -v 1000000; exec "$@"', "sh", *command.argv)
        return super().start(replace(command, argv=narrow))


def test_no_memory_for_the_library_is_no_missing_library(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "large.c"
    source.write_text("char room[1ULL << 33];\n")
    library = tmp_path / "libnvidia-ml.so.1"
    tools = {"PATH": "/usr/bin:/bin"}
    subprocess.run(["/usr/bin/gcc", "-shared", "-fPIC", "-o", library, source], check=True, env=tools)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    write(bare / "proc/driver/nvidia/version", OPEN_MODULE.format("570.86.15"))
    driver, _ = start_gpus(Narrow(), root=bare).finish()
    assert isinstance(driver, Driver)
    assert driver.failure == Unknown(unknown="NVML_ERROR_LIBRARY_NOT_FOUND (12)")


def test_a_library_that_is_damaged_is_the_drivers_fault(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"\x7fELF, cut off")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    write(bare / "proc/driver/nvidia/version", OPEN_MODULE.format("570.86.15"))
    driver, _ = start_gpus(SystemRunner(), root=bare).finish()
    assert isinstance(driver, Driver)
    assert driver.failure == "NVML_ERROR_LIBRARY_NOT_FOUND (12)"


def test_the_child_runs_from_a_zip_without_start_up_files(machine: Machine, tmp_path: Path) -> None:
    archive = tmp_path / "doctor.pyz"
    with zipfile.ZipFile(archive, "w") as pyz:
        for module in (flash_doctor, packaging):
            folder = Path(module.__path__[0])
            for file in folder.rglob("*.py"):
                pyz.write(file, file.relative_to(folder.parent))
        pyz.write(pynvml.__file__, "pynvml.py")
    surprise = tmp_path / "surprise"
    write(surprise / "sitecustomize.py", "print('surprise'); raise SystemExit(7)")
    code = (
        f"import sys; sys.path[:0] = [{str(archive)!r}]\n"
        f"import os; os.environ['PYTHONPATH'] = {str(surprise)!r}\n"
        "from pathlib import Path\n"
        "from flash_doctor.system.process import SystemRunner\n"
        "from flash_doctor.probe import gpu\n"
        "assert '.pyz' in gpu.__file__\n"
        f"driver, gpus = gpu.start_gpus(SystemRunner(), root=Path({str(machine('t4'))!r})).finish()\n"
        "print(driver.source.value, gpus.devices[0].name)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("nvml Tesla T4", "")


SMI = """#!/bin/sh
case "$*" in
  *compute_cap*) {newest} ;;
  *query-gpu*) echo "0, NVIDIA H200, GPU-aaaa, 00000000:19:00.0, 143771, 0, Enabled, [N/A], 570.86.15{capability}" ;;
  *) echo "| NVIDIA-SMI 570.86.15    Driver Version: 570.86.15    CUDA Version: 12.8  |" ;;
esac
"""


def install_smi(root: Path, newest: str, capability: str = "") -> None:
    program = root.parent / "bin" / "nvidia-smi"
    program.write_text(SMI.format(newest=newest, capability=capability))
    program.chmod(0o755)


def test_nvidia_smi_answers_where_nvml_cannot_be_loaded(machine: Machine) -> None:
    root = machine("h200", crash="nvmlInitWithFlags")
    install_smi(root, 'echo "0, NVIDIA H200, GPU-aaaa, 00000000:19:00.0, 143771, 0, Enabled, [N/A], 570.86.15, 9.0"')
    driver, gpus = look(root)
    assert isinstance(driver, Driver)
    assert driver.source is GpuSource.NVIDIA_SMI
    assert driver.max_cuda == Version("12.8")
    assert isinstance(driver.failure, Absent)
    assert isinstance(gpus, Gpus)
    (gpu,) = gpus.devices
    assert gpu.capability == Capability(major=9, minor=0)
    assert gpu.memory == 143771 * 1024**2
    assert gpu.ecc is True
    assert isinstance(gpu.mig, Absent)


def test_an_old_nvidia_smi_does_not_know_the_capability(machine: Machine) -> None:
    root = machine("h200", crash="nvmlInitWithFlags")
    install_smi(root, "echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2")
    _, gpus = look(root)
    assert isinstance(gpus, Gpus)
    assert isinstance(gpus.devices[0].capability, Unknown)
    assert gpus.devices[0].name == "NVIDIA H200"


def test_nvidia_smi_is_quoted_when_it_fails_too(machine: Machine) -> None:
    root = machine("h200", module="", crash="nvmlInitWithFlags")
    install_smi(root, "echo 'has failed because it could not communicate'; exit 9")
    program = root.parent / "bin" / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not communicate'\nexit 9\n")
    driver, _ = look(root)
    assert isinstance(driver, Unknown)
    assert "could not communicate" in driver.unknown


def test_a_machine_without_nvidia_is_told_at_once(bare: Path) -> None:
    pending = start_gpus(SystemRunner(), root=bare)
    assert pending.child is None
    driver, gpus = pending.finish()
    assert isinstance(driver, Absent)
    assert isinstance(gpus, Absent)


def test_gpu_on_the_bus_without_a_driver(bare: Path) -> None:
    put_on_bus(bare)
    put_on_bus(bare, address="0000:19:00.1", kind="0x040300")  # the sound device of the same card
    put_on_bus(bare, address="0000:00:02.0", vendor="0x8086", kind="0x030000")
    driver, gpus = look(bare)
    assert isinstance(driver, Absent)
    assert isinstance(gpus, Gpus)
    assert (gpus.devices, gpus.on_bus) == ((), 1)


def test_gpus_of_the_host_that_were_not_passed_into_the_container(bare: Path) -> None:
    write(bare / "proc/driver/nvidia/version", CLOSED_MODULE.format("550.54.15"))
    write(bare / "proc/driver/nvidia/gpus/0000:19:00.0/information", INFORMATION)
    put_on_bus(bare)
    driver, gpus = look(bare)
    assert isinstance(driver, Driver)
    assert driver.module == Version("550.54.15")
    assert driver.open_module is False
    assert isinstance(driver.library, Absent)
    assert "LIBRARY_NOT_FOUND" in (known(driver.failure) or "")
    assert isinstance(gpus, Gpus)
    assert gpus.device_nodes == ()


def test_device_nodes_that_this_user_may_not_open(machine: Machine) -> None:
    root = machine("h200")
    write(root / "dev/nvidiactl", "")
    write(root / "dev/nvidia0", "")
    (root / "dev/nvidia0").chmod(0)
    _, gpus = look(root)
    assert isinstance(gpus, Gpus)
    assert gpus.device_nodes == ("/dev/nvidia0", "/dev/nvidiactl")
    assert gpus.unreadable_nodes == (() if os.geteuid() == 0 else ("/dev/nvidia0",))


def test_a_forward_compatibility_library_is_told(tmp_path: Path) -> None:
    compat = tmp_path / "cuda" / "compat"
    write(compat / "libcuda.so.1", "")
    assert compat_library({"LD_LIBRARY_PATH": str(compat)}, tmp_path) == compat / "libcuda.so.1"
    write(tmp_path / "plain" / "libcuda.so.1", "")
    environ = {"LD_LIBRARY_PATH": f"{tmp_path / 'plain'}:{compat}"}
    assert isinstance(compat_library(environ, tmp_path), Absent)


def test_variables_that_matter_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "void")
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    variables = relevant_variables()
    assert variables["NCCL_DEBUG"] == "INFO"
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "secret" not in " ".join(variables.values())
