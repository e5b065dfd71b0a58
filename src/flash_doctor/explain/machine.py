"""A complaint joined with what `doctor check` found on the machine: evidence for and against, and the next command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Unknown, known
from flash_doctor.model.explanation import Confidence
from flash_doctor.system.commands import FIX, advice

if TYPE_CHECKING:
    from flash_doctor.model import Finding, Part, Remedy, Report, Torch
    from flash_doctor.model.explanation import Explanation

# family of complaints -> the checks that see the same on the machine
CHECKS: dict[str, tuple[str, ...]] = {
    "aarch64-no-wheel": ("F602",),
    "bitsandbytes-setup": ("C709",),
    "blackwell-no-kernel": ("X106", "G305", "G306"),
    "broken-flash-attn-breaks-unrelated": ("X101", "X102", "F611", "F612", "F608", "F603"),
    "build-isolation": ("B806",),
    "check-imports-swallowed": ("F611", "F612", "F601", "F603", "F608", "F602"),
    "container-custom-torch": ("T503", "T504", "X101", "F611"),
    "container-no-gpu": ("D251",),
    "cpu-torch": ("T502",),
    "cuda-toolkit-mismatch": ("B802",),
    "cuda-visible-devices": ("G302", "G301"),
    "disk-full": ("H101",),
    "driver-mismatch-803": ("D202", "D255"),
    "driver-too-old": ("D204", "D205"),
    "duplicate-install": ("P408", "F607"),
    "fa3-fa4-confusion": ("F609", "F610"),
    "fabric-manager-802": ("D254",),
    "forward-compat-804": ("D255",),
    "gpu-newer-than-wheel": ("X106", "G306"),
    "gpu-too-old": ("G303",),
    "half-installed": ("F603", "F608"),
    "ld-library-path": ("L902",),
    "libcudart-missing": ("X103", "L901", "F611"),
    "metadata-missing": ("F605", "F601", "F604"),
    "mixed-cuda-wheels": ("L901",),
    "nccl-library-conflict": ("L902", "L901", "L903"),
    "no-kernel-arch": ("X106", "G305", "G306"),
    "numpy2": ("C708", "X105"),
    "nvcc-missing": ("B801",),
    "nvml-mismatch": ("D202",),
    "pep668": ("P406",),
    "python-headers": ("B805",),
    "rocm-platform": ("T509",),
    "shadowed-package": ("F606", "T512", "P410", "P411"),
    "source-build-oom": ("B807",),
    "te-fa-cap": ("C707",),
    "tmp-full-on-install": ("H102",),
    "torch-replaced": ("C701", "C702", "C703"),
    "torchao-mismatch": ("C706", "X101"),
    "torchvision-mismatch": ("C702", "C703"),
    "transformers-attn-impl": ("F601", "F611", "F612", "F603"),
    "triton-mismatch": ("C705",),
    "undefined-symbol": ("X101", "X102", "F611", "F612"),
    "undefined-symbol-cxx11abi": ("X102", "X101", "F611", "F612"),
    "user-site-shadow": ("P405",),
    "version-conflict": ("C701", "C710"),
    "xformers-fa-cap": ("C707",),
    "xformers-mismatch": ("C704",),
}
_FLASH = ("flash-attn", "flash-attn-3", "flash-attn-4")
_SWALLOWED = {"check-imports-swallowed", "transformers-attn-impl", "metadata-missing"}


def join(told: Explanation, report: Report) -> Explanation:
    """The explanation with the machine's evidence; a finding makes it certain, checks that are quiet make it weaker."""
    if told.code == "build-isolation":
        told = _isolation(told, report.environment.torch)
    findings = [finding for code in CHECKS.get(told.family, ()) for finding in report.of(code)]
    evidence = (*told.evidence, *(_sentence(finding) for finding in findings), *_installed(told, report))
    if findings:
        remedies = (*(finding.remedy for finding in findings[:1] if finding.remedy), *told.remedies)
        return replace(told, evidence=evidence, remedies=_with_fix(remedies), confidence=Confidence.CERTAIN)
    return replace(told, evidence=evidence, confidence=_weaker(told, report))


def _isolation(told: Explanation, torch: Part[Torch]) -> Explanation:
    """The message is the same for a torch that the build did not see, and for one that is not there."""
    if isinstance(torch, Unknown):
        return told
    if isinstance(torch, Absent):
        line = "torch is not installed in this environment: that alone explains the message. Install it first."
        return replace(told, evidence=(*told.evidence, line), confidence=Confidence.POSSIBLE)
    line = f"torch {torch.version} is installed in this environment, so the build ran where it could not be seen."
    return replace(told, evidence=(*told.evidence, line), confidence=Confidence.CERTAIN)


def _sentence(finding: Finding) -> str:
    return f"On this machine ({finding.code}): {finding.summary}"


def _weaker(told: Explanation, report: Report) -> Confidence:
    """What the machine would show if it were so, and does not: it was repaired since, or the cause is another."""
    codes = CHECKS.get(told.family, ())
    unchecked = {item.code for item in report.unchecked}
    looked = bool(codes) and not unchecked.intersection(codes)
    return Confidence.POSSIBLE if looked and told.confidence is Confidence.LIKELY else told.confidence


def _installed(told: Explanation, report: Report) -> tuple[str, ...]:
    """A word where "not installed" is said of something that is: its import failed, and the error was swallowed."""
    packages = known(report.environment.packages)
    found = next((package for name in _FLASH if packages and (package := packages.find(name))), None)
    if told.family not in _SWALLOWED or found is None:
        return ()
    return (f"{found.name} {found.raw_version} is installed here: the message hides another error of its import.",)


def _with_fix(remedies: tuple[Remedy, ...]) -> tuple[Remedy, ...]:
    """The doctor's own command where a remedy has a goal that `doctor fix` meets."""
    first = remedies[0]
    if first.goal is None or "doctor fix" in " ".join(first.commands):
        return remedies
    return (advice(first.text, *first.commands, FIX, goal=first.goal), *remedies[1:])
