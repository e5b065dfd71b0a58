"""From the events of kernel.py, and from how it ended, to a Proof: pure."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flash_doctor.model import Absent, CommandLine, Finding, Part, Severity
from flash_doctor.model.proof import Blame, Level, Proof, Speed
from flash_doctor.system.commands import PLAN, advice, command
from flash_doctor.system.redact import cut, last_lines

# Words of CUDA and torch errors that speak of the machine's state, not of the library's code.
_MACHINE = (
    "out of memory",
    "OutOfMemoryError",
    "busy or unavailable",
    "no CUDA-capable device",
    "driver initialization failed",
    "Found no NVIDIA driver",
    "CUDA unknown error",
    "system not yet initialized",
    "all CUDA-capable devices are busy",
)
_MEND_TORCH = "Mend torch first: the check tells what is wrong with it."
_REPLACE = "Look what is wrong with this build, and which one fits."
_FREE_MEMORY = "Somebody else ended it, mostly the kernel when memory ran out: free memory, then verify again."
_CHECK, _VERIFY = command("flash-doctor check"), command("flash-doctor verify")
_BY = (_CHECK, PLAN)
# Slower than this share of torch's own attention: some kernel took a slow path.
_SLOW = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptEnd:
    """What the script told and how it ended: `code` (negative for a signal), or `hung` after so many seconds."""

    events: tuple[Mapping[str, Any], ...]
    code: int = 0
    stderr: str = ""
    hung: float | None = None

    def of(self, kind: str) -> Iterator[Mapping[str, Any]]:
        return (event for event in self.events if event["event"] == kind)

    def first(self, kind: str, key: str) -> Part[str]:
        return next((str(event.get(key)) for event in self.of(kind)), Absent(absent="it was not told"))

    @property
    def open_step(self) -> Mapping[str, Any] | None:
        """The innermost step that began and never ended."""
        steps: list[Mapping[str, Any]] = []
        for event in self.events:
            if event["event"] == "begin":
                steps.append(event)
            elif event["event"] == "end" and steps:
                steps.pop()
        return steps[-1] if steps else None


def judge(ending: ScriptEnd, *, import_only: bool, new_torch: bool = False) -> Proof:
    """The proof that these events make; with `new_torch`, torch is one of the libraries that are proved."""
    findings = tuple(_findings(ending, import_only=import_only))
    worst = [finding for finding in findings if finding.severity is Severity.ERROR]
    of_machine = {"V102", "V103", "V104"} if new_torch else {"V101", "V102", "V103", "V104"}
    machine = all(finding.code in of_machine for finding in worst)
    blame = Blame.NOTHING if not worst else Blame.MACHINE if machine else Blame.LIBRARY
    return Proof(
        level=_level(ending, blame),
        blame=blame,
        findings=findings,
        torch=ending.first("torch", "version"),
        library=ending.first("library", "version"),
        devices=tuple(device for event in ending.of("devices") for device in event["devices"]),
        cases=_right(ending),
        speeds=tuple(
            Speed(device=event["device"], library=event["library"], torch=event["sdpa"], ceiling=event["matmul"])
            for event in ending.of("speed")
        ),
    )


def _right(ending: ScriptEnd) -> int:
    """Cases with a right answer."""
    return sum(step == "case" and event["ok"] and not event.get("wrong") for step, event in _ended(ending))


def _level(ending: ScriptEnd, blame: Blame) -> Level:
    if any(ending.of("finished")) and _right(ending) and blame is Blame.NOTHING:
        return Level.KERNEL
    steps = list(_ended(ending))
    imported = [step for step, event in steps if event["ok"] and step.startswith("import ")]
    refused = [step for step, event in steps if not event["ok"] and step.startswith("import ")]
    return Level.IMPORT if len(imported) > 1 and not refused and blame is not Blame.LIBRARY else Level.STATIC


def _ended(ending: ScriptEnd) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((str(event["step"]), event) for event in ending.of("end"))


def _findings(ending: ScriptEnd, *, import_only: bool) -> Iterator[Finding]:
    yield from (_refusal(step, event) for step, event in _ended(ending) if not event["ok"])
    yield from (_fault(event) for event in ending.of("fault"))
    yield from (_slow(event) for event in ending.of("speed") if _is_slow(event))
    if any(ending.of("finished")) and (ending.hung is not None or ending.code):
        yield _bad_end(ending)
    elif ending.hung is not None or ending.code or ending.open_step:
        yield _cut_off(ending)
    elif not import_only and any(ending.of("devices")) and not any(event["devices"] for event in ending.of("devices")):
        yield _finding(
            "V102",
            "the machine",
            "no GPU is visible, so no kernel could be run",
            ("torch.cuda.device_count() is 0 in the target",),
            "Run the verification where the GPUs are.",
            _VERIFY,
        )


def _refusal(step: str, event: Mapping[str, Any]) -> Finding:
    """A step that ended with an exception."""
    error = cut(str(event["error"]), 2000)
    evidence = (f"{event['kind']}: {error}" if event["kind"] not in error else error, *map(str, event["where"]))
    if step == "import torch":
        return _finding("V101", "torch", "torch itself does not import", evidence, _MEND_TORCH, _CHECK)
    if any(word in error for word in _MACHINE):
        text = "Free the GPU, then verify again."
        return _finding("V103", "the machine", "the GPU could not be used", evidence, text, _VERIFY)
    if step == "use":
        return _finding("V101", "torch", "torch itself cannot use this device", evidence, _MEND_TORCH, _CHECK)
    if step.startswith("import "):
        return _finding("V201", step.removeprefix("import "), "the library does not import", evidence, _REPLACE, *_BY)
    if "no kernel image" in error:
        return _finding("V202", "flash-attn", "this build has no code for this GPU", evidence, _REPLACE, *_BY)
    return _finding("V203", "flash-attn", "a kernel ended with an error", evidence, _REPLACE, *_BY)


def _fault(event: Mapping[str, Any]) -> Finding:
    """A wrong answer: proven wrong when it is so with other inputs too, else noted."""
    proven = event["again"] > 0
    evidence = (f"{event['case']} on {event['device']}", str(event["fault"]))
    if proven:
        return _finding(
            "V204", "flash-attn", "a kernel computes wrong numbers", evidence, f"Do not train with it. {_REPLACE}", *_BY
        )
    return Finding(
        code="V301",
        severity=Severity.WARNING,
        subject="flash-attn",
        summary="one random input gave a larger error than allowed, two others did not",
        evidence=evidence,
        remedy=advice("Repeat the verification.", _VERIFY),
    )


def _is_slow(event: Mapping[str, Any]) -> bool:
    """On a GPU; what a CPU shares with other work says nothing of a path."""
    return bool(event["device"] != "cpu" and event["library"] < _SLOW * event["sdpa"])


def _slow(event: Mapping[str, Any]) -> Finding:
    return Finding(
        code="V302",
        severity=Severity.WARNING,
        subject="flash-attn",
        summary="the library is much slower than torch's own attention on this device",
        evidence=(f"{event['device']}: {event['library']} TFLOP/s, torch {event['sdpa']} TFLOP/s",),
    )


def _bad_end(ending: ScriptEnd) -> Finding:
    """All was told, and then the process did not end well: what takes apart at the end is torch's or the library's."""
    return Finding(
        code="V303",
        severity=Severity.WARNING,
        subject="flash-attn",
        summary=f"after all was done, the process {_how(ending)}",
        evidence=tuple(last_lines(ending.stderr, 3)) or ("it printed no error",),
    )


def _how(ending: ScriptEnd) -> str:
    return f"did not end within {ending.hung:g} seconds" if ending.hung is not None else _death(ending.code)


def _cut_off(ending: ScriptEnd) -> Finding:
    """The process died or was stopped: by which signal, in which step."""
    step = ending.open_step or {"step": "start"}
    where = str(step.get("case") or step["step"])
    how = _how(ending)
    evidence = (f"in the step: {where}", *last_lines(ending.stderr, 3))
    mine = str(step["step"]) in {"start", "import torch", "use"}
    summary = f"the process that ran the kernels {how}"
    if ending.hung is None and ending.code == -signal.SIGKILL:
        # no code kills itself so; the kernel does, when memory runs out, and people and schedulers do
        return _finding("V104", "the machine", summary, evidence, _FREE_MEMORY, _VERIFY)
    if mine:
        return _finding("V101", "torch", summary, evidence, _MEND_TORCH, _CHECK)
    return _finding("V205", "flash-attn", summary, evidence, _REPLACE, *_BY)


def _death(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"


def _finding(
    code: str, subject: str, summary: str, evidence: tuple[str, ...], text: str, *commands: CommandLine | None
) -> Finding:
    return Finding(
        code=code,
        severity=Severity.ERROR,
        subject=subject,
        summary=summary,
        evidence=evidence,
        remedy=advice(text, *commands),
    )
