"""What is said: symbols are computed, causes ordered, the machine tells apart, and what is unknown is told as such."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from cases_told import FACTS
from flash_doctor.explain import explain
from flash_doctor.model import Package, Packages, Remedy, Severity, Unchecked, Unknown
from flash_doctor.model.explanation import Confidence, Explanation, Explanations
from flash_doctor.system.commands import FIX
from patients import finding, report

SYMBOL = "ImportError: /v/lib/python3.11/site-packages/{}: undefined symbol: {}\n"
CHECK = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb"
AMPERE = "RuntimeError: FlashAttention only supports Ampere GPUs or newer."
SWALLOWED = (
    "ImportError: This modeling file requires the following packages that were not found in your environment: "
    "flash_attn. Run `pip install flash_attn`"
)


def answer(text: str, machine: object = None) -> Explanations:
    return explain(io.BytesIO(text.encode()), FACTS, machine)  # type: ignore[arg-type]


def first(text: str, machine: object = None) -> Explanation:
    return answer(text, machine).explanations[0]


def test_a_symbol_of_torch_is_dated_by_the_atlas() -> None:
    said = " ".join(first(SYMBOL.format("flash_attn_2_cuda.so", CHECK) + "torch 2.8.0").evidence)
    assert "c10::cuda::c10_cuda_check_implementation(int, char const*, char const*, unsigned int, bool)" in said
    assert "built for torch 2.10–2.13 or a nightly on the way to 2.10, newer than the installed 2.8.0" in said


@pytest.mark.parametrize("package", ["xformers/_C.so", "vllm/_C.abi3.so", "selective_scan_cuda.so", "any_cuda.so"])
def test_it_works_for_any_package_that_links_torch(package: str) -> None:
    said = " ".join(first(SYMBOL.format(package, "_ZN3c104cuda9SetDeviceEab")).evidence)
    assert "2.8" in said


@pytest.mark.parametrize(
    ("file", "symbol", "family", "says"),
    [
        ("flash_attn_2_cuda.so", "_ZN3c105ErrorC2ENS_14SourceLocationESs", "undefined-symbol-cxx11abi", "older"),
        ("x.so", "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
         "undefined-symbol-cxx11abi", "C++11"),
        ("torch/lib/libtorch_cuda.so", "ncclCommRegister", "nccl-library-conflict", "nvidia-nccl-cu12"),
        ("nvidia/cusparse/lib/libcusparse.so.12", "__nvJitLinkComplete_12_4", "ld-library-path", "nvidia-nvjitlink"),
        ("torchaudio/lib/libtorchaudio.so", "_ZNK3c107SymBool10guard_boolEPKcl", "torchvision-mismatch", "torch 2."),
        ("../torch_extensions/py310/fused/fused.so", "_ZN3c104cuda9SetDeviceEi", "stale-jit-cache", "cache"),
    ],
)  # fmt: skip
def test_whose_symbol_it_is_decides(file: str, symbol: str, family: str, says: str) -> None:
    found = first(SYMBOL.format(file, symbol))
    assert found.family == family
    assert says in " ".join((*found.evidence, found.cause))


def test_a_library_names_its_package() -> None:
    found = first("ImportError: libcudart.so.13: cannot open shared object file: No such file or directory")
    assert found.family == "libcudart-missing"
    assert "nvidia-cuda-runtime" in " ".join(found.evidence)


def test_a_404_that_ends_in_a_killed_compiler_names_the_compiler() -> None:
    text = (
        "urllib.error.HTTPError: HTTP Error 404: Not Found\nDuring handling of the above exception, another occurred:\n"
        "FAILED: flash_fwd.o\nnvcc error   : 'cicc' died due to signal 9 (Kill signal)\n"
        "ninja: build stopped: subcommand failed.\nERROR: Failed building wheel for flash-attn\n"
    )
    found = answer(text).explanations
    assert [item.family for item in found] == ["source-build-oom"]
    assert {item.family for item in found[0].consequences} == {"no-prebuilt-wheel"}


def test_the_first_cause_comes_first() -> None:
    text = f"AssertionError: Torch not compiled with CUDA enabled\n{SWALLOWED}\nwandb: ERROR api_key not configured\n"
    assert [item.family for item in answer(text).explanations] == ["cpu-torch", "check-imports-swallowed", "wandb-auth"]


def test_guessed_wheels_are_looked_up() -> None:
    line = "Guessing wheel URL: https://github.com/Dao-AILab/flash-attention/releases/download/v2.7.2.post1/{}\n{}"
    end = "Precompiled wheel not found. Building from source..."
    there = "flash_attn-2.7.2.post1+cu12torch2.4cxx11abiFALSE-cp310-cp310-linux_x86_64.whl"
    assert first(line.format(there, end)).family == "network-wheel-guess"
    assert first(line.format(there.replace("torch2.4", "torch2.9"), end)).family == "no-prebuilt-wheel"


def test_a_finding_of_the_machine_makes_it_certain_and_brings_its_remedy() -> None:
    remedy = Remedy(text="Install the wheel for this torch.", commands=(FIX,))
    machine = report(
        finding("F611", Severity.ERROR, "flash-attn", "flash_attn_2_cuda.so wants symbols of torch 2.6.", remedy=remedy)
    )
    found = first(SWALLOWED, machine)
    assert found.confidence is Confidence.CERTAIN
    assert any("F611" in line and "torch 2.6" in line for line in found.evidence)
    assert found.remedies[0].commands[-1] == "flash-doctor fix"


def test_a_quiet_machine_weakens_and_an_unchecked_one_does_not() -> None:
    assert first(SWALLOWED, report()).confidence is Confidence.POSSIBLE
    unchecked = tuple(Unchecked(code=code, why="no") for code in ("F601", "F611"))
    assert first(SWALLOWED, report(unchecked=unchecked)).confidence is Confidence.LIKELY


def test_not_installed_while_installed_is_said() -> None:
    blank = Unknown(unknown="")
    package = Package(
        name=canonicalize_name("flash-attn"),
        version=blank,
        raw_version="2.8.3",
        metadata=Path("x"),
        location=Path("x"),
        installer="pip",
        url=blank,
        editable=False,
        in_user_site=False,
        requires=(),
        requires_python="",
        tags=(),
        top_level=(),
        record=blank,
    )
    packages = Packages(distributions=(package,), leftovers=(), broken=())
    assert any(
        "flash-attn 2.8.3 is installed here" in line for line in first(SWALLOWED, report(packages=packages)).evidence
    )


def test_no_module_torch_in_a_build_is_isolation_where_torch_is_installed() -> None:
    found = first("/tmp/pip-build-env-x/setup.py\nModuleNotFoundError: No module named 'torch'", report())
    assert (found.family, found.confidence) == ("build-isolation", Confidence.CERTAIN)
    assert "torch 2.13.0+cu130 is installed" in " ".join(found.evidence)


def test_ampere_on_a_hopper_gpu_is_not_called_too_old() -> None:
    assert first(AMPERE, report()).family == "gpu-too-old-false-positive"
    assert first(AMPERE).family == "gpu-too-old"
    assert first(f"GPU: NVIDIA B200\n{AMPERE}").family == "gpu-newer-than-wheel"


def test_what_is_unknown_is_said_with_its_last_lines() -> None:
    text = (
        "step 1\n" * 400
        + "Traceback (most recent call last):\n  File 'x.py'\nFrobnicationError: the gizmo is unhappy\n"
    )
    found = answer("x\n" * 4000 + text)
    assert found.explanations == ()
    assert [line.text for line in found.unexplained][-1] == "FrobnicationError: the gizmo is unhappy"
    assert found.unexplained[-1].number == 4403


def test_secrets_never_leave() -> None:
    text = (
        f"/home/ada/x.py HF_TOKEN=hf_{'a1B2' * 9} {SWALLOWED}\nValueError: bad key sk-{'Z9y8' * 8} of ada@example.org\n"
    )
    said = repr(answer(text)) + repr(answer(text.replace("modeling", "other")))
    assert not [secret for secret in ("a1B2a1B2", "Z9y8Z9y8", "ada@", "/home/ada") if secret in said]
