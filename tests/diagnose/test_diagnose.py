"""The diagnosis as a whole: its order, its parts, and what causes keep silent."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ward import names, patient

from flash_doctor.diagnose import diagnose
from flash_doctor.diagnose.registry import CHECKS
from flash_doctor.facts import Facts
from flash_doctor.model import Family, Report, Severity, Verdict

FACTS = Facts()


def report(name: str, *, host_only: bool = False) -> Report:
    recorded = patient(name)
    return diagnose(recorded.target, recorded.environment, FACTS, host_only=host_only)


@pytest.mark.parametrize("name", names())
def test_findings_come_by_severity_and_causes_first(name: str) -> None:
    ranks = [
        (list(Severity).index(finding.severity), list(Family).index(CHECKS[finding.code].family))
        for finding in report(name).findings
    ]
    assert ranks == sorted(ranks)


def test_host_only_looks_at_the_machine_alone() -> None:
    machine = report("target-does-not-answer", host_only=True)
    families = {CHECKS[finding.code].family for finding in report("debian-python", host_only=True).findings}
    assert machine.unchecked == ()
    assert 0 < machine.score.checked < report("healthy-h100").score.checked
    assert families <= {Family.HOST, Family.DRIVER, Family.GPU, Family.BUILD}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("healthy-h100", Verdict.HEALTHY),
        ("debian-python", Verdict.HEALTHY),
        ("flash-absent", Verdict.WARNINGS),
        ("cpu-torch", Verdict.BROKEN),
        ("torch-absent", Verdict.BROKEN),
    ],
)
def test_the_verdict_is_the_worst_finding(name: str, verdict: Verdict) -> None:
    assert report(name).verdict is verdict


def test_a_missing_torch_is_the_only_thing_told() -> None:
    """accelerate, peft, bitsandbytes and torchvision need torch too; nobody wants to read that ten times."""
    assert [finding.code for finding in report("torch-absent").findings] == ["T501"]


def test_what_hangs_on_an_unsettled_torch_is_unchecked_not_guessed() -> None:
    unsettled = report("two-torches")
    assert {"C702", "F611"} <= {unchecked.code for unchecked in unsettled.unchecked}
    assert all("T506" in unchecked.why for unchecked in unsettled.unchecked)


def evidence(name: str, code: str) -> str:
    (finding,) = report(name).of(code)
    remedy = finding.remedy
    return "\n".join((finding.summary, *finding.evidence, *(remedy.commands if remedy else ())))


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        (
            "torchvision-out-of-step",
            "C702",
            ["torchvision==0.23.0", "/whl/cu128", "--no-deps", "Requires-Dist: torch==2.7.1"],
        ),
        ("flash-for-torch-2.4", "F611", ["torch 2.4", "C++", "old (cxx11abiFALSE)", "direct_url.json"]),
        ("flash-mislabelled", "F612", ["FALSE", "#1783"]),
        ("triton-too-new", "C705", ["triton==3.4.0", "3.5.1"]),
        ("torchao-for-another-torch", "C706", ["torchao==0.13.*"]),
        ("xformers-window", "C707", ["import fails", "2.8.2"]),
        ("mixed-cu11-cu12", "L901", ["overwrite", "nvidia-nccl-cu11", "nvidia-nccl-cu12==2.27.3"]),
        ("requirements-unmet", "C710", ["dill", "tokenizers", "Requires-Dist"]),
        ("requirements-file", "C711", ["requirements.txt:3", "2 of 3"]),
        ("flash-cp310-wheel", "F602", ["cp310", "cp312", "WHEEL"]),
        ("cudnn-missing", "T510", ["nvidia-cudnn-cu12==9.10.2.21", "missing"]),
        ("bitsandbytes-forced", "C709", ["BNB_CUDA_VERSION=121"]),
        (
            "flash-built-for-newer-torch",
            "X101",
            ["torch 2.10–2.13 or a nightly on the way to 2.10", "newer than the installed 2.8.0", "unsigned int"],
        ),
        ("flash-nightly-by-its-date", "X101", ["by 2025-10-20: only a nightly on the way to 2.10 is left"]),
        ("flash-built-for-older-torch", "X101", ["torch 2.9 or older has it", "older than the installed 2.10.0"]),
        ("flash-of-the-older-abi", "X101", ["C++'s older form (C++ ABI FALSE), this torch in the newer"]),
        ("flash-lying-abi", "X102", ["its name says C++ ABI FALSE", "C++ ABI TRUE, by the functions"]),
        ("flash-of-cuda-13", "X103", ["built for CUDA 13", "the CUDA runtime", "nvidia-cuda-runtime"]),
        ("cuda-extension-under-cpu-torch", "X103", ["CPU build", "libtorch_cuda.so"]),
        ("flash-needs-newer-glibc", "X104", ["GLIBC_2.32", "glibc 2.31", "Ubuntu 20.04"]),
        ("b200-old-flash-compiled", "X106", ["machine code for 8.0, 9.0", "newer than this build"]),
        ("wheel-on-vendor-torch", "X101", ["outside the atlas", "built for torch 2.8"]),
        ("extension-lacks-nccl-symbol", "X101", ["NCCL", "nvidia-nccl"]),
    ],
)
def test_a_finding_names_what_a_person_needs(name: str, code: str, words: list[str]) -> None:
    told = evidence(name, code)
    assert [word for word in words if word not in told] == []


@pytest.mark.parametrize(
    ("name", "code", "severity"),
    [
        ("cuda-on-ld-library-path", "L902", Severity.INFO),
        ("ld-library-path", "L902", Severity.WARNING),
        ("pythonpath-project", "P404", Severity.INFO),
        ("pythonpath-hides-transformers", "P404", Severity.WARNING),
        ("peft-wants-newer-torch", "C701", Severity.WARNING),
        ("vllm-wants-another-torch", "C701", Severity.ERROR),
        ("flash-development-build", "F612", Severity.WARNING),
        ("flash-by-wheel-label", "F611", Severity.WARNING),
        ("cu13-wheel", "F611", Severity.ERROR),
        ("flash-lying-abi", "X102", Severity.ERROR),
        ("flash-lying-abi-that-fits", "X102", Severity.INFO),
        ("vision-without-ffmpeg", "X103", Severity.INFO),
        ("flash-of-cuda-13", "X103", Severity.ERROR),
        ("bitsandbytes-without-code", "X106", Severity.WARNING),
        ("rtx5090-torch-cu126-compiled", "X106", Severity.ERROR),
        ("nccl-of-another-version", "T510", Severity.WARNING),
    ],
)
def test_severity_follows_what_will_happen(name: str, code: str, severity: Severity) -> None:
    (finding,) = report(name).of(code)
    assert finding.severity is severity


def test_names_say_nothing_where_the_file_was_read() -> None:
    """No double findings, and nothing unchecked: the hints from names yield to the proof."""
    for name in ("ngc-image-compiled", "b200-old-flash-compiled", "flash-lying-abi", "flash-named-for-neighbour"):
        assert not {"F611", "F612", "G305", "G306"} & {finding.code for finding in report(name).findings}, name
    assert report("ngc-image-compiled").unchecked == ()
    assert {"G305"} <= {unchecked.code for unchecked in report("ngc-image").unchecked}


def test_the_rules_load_no_heavy_module() -> None:
    """packaging's parser is imported when a marker must be read, the rest never."""
    heavy = (
        "packaging.requirements",
        "packaging.markers",
        "rich",
        "requests",
        "pip_api",
        "psutil",
        "elftools",
        "torch",
    )
    script = (
        "import sys; from flash_doctor.diagnose import load_rules; load_rules();"
        f"sys.exit(', '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
