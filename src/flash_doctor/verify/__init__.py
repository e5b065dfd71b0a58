"""Verification: run `kernel.py` in the target, bounded in time, and judge what it told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import CommandFailed, TimedOut
from flash_doctor.system.bounds import read_json
from flash_doctor.system.foreign import demand_ours
from flash_doctor.system.process import Command
from flash_doctor.system.redact import secrets
from flash_doctor.verify.judge import ScriptEnd, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_doctor.model import Target
    from flash_doctor.model.proof import Proof
    from flash_doctor.system.claims import Claimed
    from flash_doctor.system.process import Runner

# the folder that we are called from holds no part of the target, whatever lies there
_LOADER = "import sys; sys.path[:] = filter(None, sys.path); exec(compile(sys.argv.pop(1), 'kernel.py', 'exec'))"
# the reference is computed in float32, whatever a container's image has set for speed
_PRECISE = {"NVIDIA_TF32_OVERRIDE": "0", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0"}
_NOT_STARTED = 127  # as a shell says it
KERNEL = Path(__file__).with_name("kernel.py")
# what each event has; `torch` and `library` say what they like
_NUMBER = (int, float)
_SHAPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "begin": {"step": str},
    "end": {"step": str, "ok": bool},
    "torch": {},
    "library": {},
    "devices": {"devices": list},
    "fault": {"case": str, "device": str, "fault": str, "again": int},
    "speed": {"device": str, "library": _NUMBER, "sdpa": _NUMBER, "matmul": _NUMBER},
    "finished": {},
}
_FAILED: dict[str, type | tuple[type, ...]] = {"error": str, "kind": str, "where": list}


def verify(
    target: Target,
    runner: Runner,
    *,
    entry: str,
    head_dims: tuple[int, ...],
    device: str = "cuda",
    import_only: bool = False,
    timeout: float = 600.0,
    scratch: Path,
    new_torch: bool = False,
    progress: Callable[[bytes], None] | None = None,
) -> Proof:
    """Prove the library `entry` (flash_attn, flash_attn_interface, flash_attn.cute) in the target.

    Args:
        target: the interpreter it runs in, in a process of its own.
        runner: starts that process.
        entry: the module whose attention functions are called.
        head_dims: head dimensions that this version supports forward and backward on these GPUs.
        device: "cuda" for every visible GPU, or "cpu" for a library that can.
        import_only: stop after the imports.
        timeout: seconds for all of it; compiling kernels on first use counts.
        scratch: a folder of ours for JIT caches, so that the target and the home stay as they are.
        new_torch: torch was just installed too, so that its failure is not the machine's.
        progress: told the script's output as it comes.
    """
    demand_ours(target.python)
    mark = os.urandom(8).hex()
    options = {"entry": entry, "head_dims": head_dims, "device": device, "import_only": import_only, "mark": mark}
    command = Command(
        argv=(str(target.python), "-c", _LOADER, KERNEL.read_text(encoding="utf-8"), json.dumps(options)),
        timeout=timeout,
        environment={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore", **_PRECISE, **_caches(scratch)},
        watch=progress,
        alone=True,
    )
    return judge(_run(runner, command, mark), import_only=import_only, new_torch=new_torch)


def _run(runner: Runner, command: Command, mark: str) -> ScriptEnd:
    try:
        completed = runner.run(command)
    except TimedOut as error:
        return ScriptEnd(events=_events(error.stdout, mark), hung=command.timeout)
    except CommandFailed as error:
        return ScriptEnd(events=(), stderr=error.message, code=_NOT_STARTED)
    return ScriptEnd(
        events=_events(completed.stdout, mark), code=completed.returncode, stderr=secrets(completed.errors)[-4000:]
    )


def _events(output: bytes, mark: str) -> tuple[dict[str, object], ...]:
    """The script's lines, told by their mark; anything else on stdout is none of them."""
    return tuple(event for line in output.splitlines() if (event := _event(line, mark)))


def _event(line: bytes, mark: str) -> dict[str, object] | None:
    try:
        return _accept(read_json(line, finite=False), mark)
    except ValueError:  # cut off in the middle, or nothing of ours
        return None


def _accept(claim: Claimed[Any], mark: str) -> dict[str, object] | None:
    """An event as kernel.py writes it; the library that it imports shares its process, and may write others."""
    event = claim.unproved()
    return event if isinstance(event, dict) and event.get("mark") == mark and _is_ours(event) else None


def _is_ours(event: dict[str, object]) -> bool:
    """Whether kernel.py writes such lines: the library that it imports shares its process, and may write others."""
    shape = _SHAPES.get(str(event.get("event")))
    if shape is None:
        return False
    if event["event"] == "end" and event.get("ok") is False:
        shape = {**shape, **_FAILED}
    lists = (value for name, kind in shape.items() if kind is list and isinstance(value := event.get(name), list))
    return all(isinstance(event.get(name), kind) for name, kind in shape.items()) and all(
        isinstance(item, str) for value in lists for item in value
    )


def _caches(scratch: Path) -> dict[str, str]:
    """Where torch, Triton and the driver put what they compile."""
    folders = {
        "TRITON_CACHE_DIR": "triton",
        "TORCHINDUCTOR_CACHE_DIR": "inductor",
        "TORCH_EXTENSIONS_DIR": "extensions",
        "CUDA_CACHE_PATH": "cuda",
        "CUTE_DSL_CACHE_DIR": "cute",
        "XDG_CACHE_HOME": "cache",
    }
    return {name: str(scratch / folder) for name, folder in folders.items()}
