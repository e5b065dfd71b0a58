"""What NVML answers, as JSON on one line. Runs in a child of its own, because a wedged driver never lets go.

Run by question.py as text (`python -c`), with a line to print before the driver is asked and the folders of its
sys.path as arguments; the standard library and pynvml only. Each value is
the fact, `{"absent": why}` or `{"unknown": why}`: the shapes of the model.
"""

from __future__ import annotations

import json
import sys
from ctypes import CDLL, byref

TYPE_CHECKING = False  # of our own: importing typing would cost this short-lived process a tenth of its time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What a driver says that lacks something at this moment: memory, a free lock. It may be sound.
_FOR_NOW = ("MEMORY", "INSUFFICIENT_RESOURCES", "TIMEOUT", "IN_USE", "NOT_READY")
# the loader's words where there is no memory for a library that is there
_NO_MEMORY = ("failed to map segment", "cannot map zero-fill pages", "Cannot allocate memory")
_FABRIC = ("not supported", "not started", "in progress", "completed")


def answer() -> dict[str, Any]:
    """Everything; `failure` is the error of nvmlInit, absent when it went well, unknown where it may pass."""
    import pynvml

    return {
        "failure": _failure(),
        "library_file": _library_file(),
        "library": _ask(lambda: str(pynvml.nvmlSystemGetNVMLVersion())),
        "driver": _ask(lambda: str(pynvml.nvmlSystemGetDriverVersion())),
        "cuda": _ask(pynvml.nvmlSystemGetCudaDriverVersion_v2),
        "gpus": _ask(lambda: [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]),
    }


def _failure() -> Any:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        name = _name(error)
        passing = name.startswith(tuple(f"NVML_ERROR_{word} " for word in _FOR_NOW))
        missing = isinstance(error, pynvml.NVMLError_LibraryNotFound)
        return {"unknown": name} if passing or (missing and _no_memory()) else name
    return {"absent": ""}


def _no_memory() -> bool:
    """Whether the loader finds the library and has no room for it, which pynvml keeps to itself."""
    try:
        CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return any(words in str(error) for words in _NO_MEMORY)
    return False


def _name(error: Exception) -> str:
    """NVML's name of an error and its number, as in `NVML_ERROR_DRIVER_NOT_LOADED (9)`."""
    import pynvml

    value = getattr(error, "value", None)
    names = [name for name in dir(pynvml) if name.startswith("NVML_ERROR_") and getattr(pynvml, name) == value]
    return f"{names[0]} ({value})" if names else f"NVML error {value}"


def _ask(call: Callable[[], Any], *, absent_when_unsupported: bool = False) -> Any:
    """The call's value; one call that fails costs its own field and nothing else."""
    import pynvml

    try:
        return call()
    except pynvml.NVMLError as error:
        unsupported = isinstance(error, pynvml.NVMLError_NotSupported)
        return {"absent" if absent_when_unsupported and unsupported else "unknown": _name(error)}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return {"unknown": f"{type(error).__name__}: {error}"}


def _library_file() -> Any:
    """The file behind libnvidia-ml.so.1 in this very process: its name carries the library's version."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123 - no import more
            paths = [line.split(None, 5)[-1].strip() for line in maps if "libnvidia-ml" in line]
    except OSError as error:
        return {"unknown": str(error)}
    return paths[0] if paths else {"absent": "no libnvidia-ml was loaded"}


def _gpu(index: int) -> dict[str, Any]:
    """One GPU in the shape of model.Gpu; a GPU that gives no handle has no other answers either."""
    import pynvml

    handle = _ask(lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
    lost = handle if isinstance(handle, dict) else None

    def of(call: Callable[[], Any], *, absent: bool = False) -> Any:
        return lost or _ask(call, absent_when_unsupported=absent)

    name = of(lambda: str(pynvml.nvmlDeviceGetName(handle)))
    mig = of(lambda: bool(pynvml.nvmlDeviceGetMigMode(handle)[0]), absent=True)
    return {
        "index": index,
        "name": name if isinstance(name, str) else f"GPU {index}, no name ({name['unknown']})",
        "uuid": of(lambda: str(pynvml.nvmlDeviceGetUUID(handle))),
        "bus_id": of(lambda: _text(pynvml.nvmlDeviceGetPciInfo(handle).busId)),
        "memory": of(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)),
        "memory_used": of(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
        "capability": of(lambda: _capability(handle)),
        "ecc": of(lambda: bool(pynvml.nvmlDeviceGetEccMode(handle)[0]), absent=True),
        "mig": mig,
        "mig_devices": _mig_devices(handle) if mig is True else [],
        "processes": of(lambda: _processes(handle)),
        "fabric": of(lambda: _fabric(handle), absent=True),
        "visible": {"unknown": "NVML does not tell"},
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _capability(handle: Any) -> dict[str, int]:
    import pynvml

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return {"major": int(major), "minor": int(minor)}


def _mig_devices(handle: Any) -> list[dict[str, Any]]:
    """The slices of a GPU; NVML numbers them with gaps, so an index without one is passed over."""
    import pynvml

    most = _ask(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))
    slices = [_mig_device(handle, index) for index in range(most if isinstance(most, int) else 0)]
    return [found for found in slices if found]


def _mig_device(handle: Any, index: int) -> dict[str, Any] | None:
    import pynvml

    part = _ask(lambda: pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    uuid = None if isinstance(part, dict) else _ask(lambda: str(pynvml.nvmlDeviceGetUUID(part)))
    if not isinstance(uuid, str):
        return None
    name = _ask(lambda: str(pynvml.nvmlDeviceGetName(part)))
    memory = _ask(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(part).total))
    return {"uuid": uuid, "name": name if isinstance(name, str) else "MIG device", "memory": memory}


def _processes(handle: Any) -> list[dict[str, Any]]:
    import pynvml

    try:
        running = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 510
        running = pynvml.nvmlDeviceGetComputeRunningProcesses_v2(handle)
    untold = {"unknown": "the driver does not tell"}
    return [{"pid": int(process.pid), "memory": process.usedGpuMemory or untold} for process in running]


def _fabric(handle: Any) -> Any:
    """How far this GPU's registration with the NVSwitch fabric came; drivers before 550 know only the older call."""
    import pynvml

    info = pynvml.c_nvmlGpuFabricInfoV_t()
    try:
        pynvml.nvmlDeviceGetGpuFabricInfoV(handle, byref(info))
    except pynvml.NVMLError_FunctionNotFound:
        info = pynvml.c_nvmlGpuFabricInfo_t()
        pynvml.nvmlDeviceGetGpuFabricInfo(handle, byref(info))
    if info.state == 0:
        return {"absent": "this GPU is on no NVSwitch fabric"}
    state = _FABRIC[info.state] if info.state < len(_FABRIC) else f"state {info.state}"
    return state if info.status == 0 else f"{state} (NVML error {info.status})"


if __name__ == "__main__":
    _, mark, *sys.path[:] = sys.argv
    import pynvml  # noqa: F401 imported before the mark

    # what takes long from here on is the driver
    sys.stdout.write(f"{mark}\n")
    sys.stdout.flush()
    sys.stdout.write("\n" + json.dumps(answer()) + "\n")
