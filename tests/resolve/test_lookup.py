"""Steps without an address: what an index is asked, and what its answer does to the plan."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.version import Version

from fakes import TableRunner, printed
from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.model import Environment, Goal
from flash_doctor.model.plan import Install, Plan
from flash_doctor.model.wheel import HashState
from flash_doctor.resolve import resolve, settle
from flash_doctor.resolve.index_query import IndexFile, IndexQuery
from flash_doctor.resolve.sources.uv_index import UvLookup, uv_platform
from flash_doctor.system.process import SystemRunner
from seats import described, facts, wheels, with_packages

H100 = {"gpu": "H100", "python_version": "3.12", "glibc": "2.39", "machine": "x86_64"}
LOCK = """
lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "einops"
version = "0.8.1"
wheels = [{{ url = "https://example.org/einops-0.8.1-py3-none-any.whl", size = 7, hashes = {{ sha256 = "{}" }} }}]
[[packages]]
name = "too-new"
version = "1"
marker = "python_full_version >= '3.15'"
wheels = [{{ url = "https://example.org/too_new-1-py3-none-any.whl", hashes = {{ sha256 = "{}" }} }}]
""".format("ab" * 32, "cd" * 32)


@dataclass
class Oracle:
    """A lookup that answers from a list and remembers what it was asked."""

    found: tuple[IndexFile, ...]
    asked: list[IndexQuery] = field(default_factory=list)

    def answer(self, question: IndexQuery) -> tuple[IndexFile, ...]:
        self.asked.append(question)
        return self.found


def found(name: str, version: str) -> IndexFile:
    url = f"https://example.org/{name}-{version}-py3-none-any.whl"
    return IndexFile(name=name, version=Version(version), url=url, sha256="ab" * 32, size=9)  # type: ignore[arg-type]


def plan(environment: Environment, **goal: tuple[str, ...]) -> Plan:
    answer = resolve(Goal(**goal), environment, wheels(), facts())
    assert isinstance(answer, Plan)
    return answer


def requirements(plan: Plan) -> list[str]:
    return [step.requirement for step in plan.steps if isinstance(step, Install)]


def test_a_requirement_gets_address_and_hash() -> None:
    environment = described({**H100, "torch": "2.8.0+cu128"})
    settled = settle(plan(environment), environment, Oracle((found("einops", "0.8.1"),)))
    flash, einops = settled.steps
    assert isinstance(einops, Install)
    assert (einops.requirement, einops.sha256, einops.size) == ("einops==0.8.1", "ab" * 32, 9)
    assert einops.hash_state is HashState.PUBLISHED
    assert flash == plan(environment).steps[0], "a wheel of the matrix keeps its address and hash"


def test_what_stays_is_a_constraint_and_what_belongs_to_torch_is_left_out() -> None:
    installed = {
        "torch": ["2.9.1+cu130", "triton==3.5.1", "sympy"],
        "triton": "3.5.1",
        "sympy": "1.13.1",
        "numpy": "2.1.0",
    }
    environment = with_packages(described({**H100, "gpu": "B200", "torch": "2.9.1+cu130"}), installed)
    lookup = Oracle(tuple(found(*pair) for pair in (
        ("flash-attn-4", "4.0.0b36"), ("einops", "0.8.1"), ("torch", "2.9.1"), ("triton", "3.6.0"), ("numpy", "2.1.0"),
        ("apache-tvm-ffi", "0.1.12"), ("cuda-python", "13.0"),
    )))  # fmt: skip
    settled = settle(plan(environment, wanted=("flash-attn-4",)), environment, lookup)
    assert set(lookup.asked[0].constraints) == {"torch==2.9.1", "triton==3.5.1", "sympy==1.13.1", "numpy==2.1.0"}
    assert not {"torch==2.9.1", "triton==3.6.0", "numpy==2.1.0"} & set(requirements(settled))
    assert "cuda-python==13.0" in requirements(settled)


def test_when_torch_moves_its_libraries_are_free_and_the_rest_is_held() -> None:
    installed = {"torch": ["2.15.0", "nvidia-nccl-cu13==2.30.7"], "nvidia-nccl-cu13": "2.30.7", "numpy": "2.1.0"}
    environment = with_packages(described({**H100, "torch": "2.15.0+cu132", "driver": "595.71.05"}), installed)
    lookup = Oracle((found("torch", "2.14.1+cu132"), found("nvidia-nccl-cu13", "2.29.0"), found("numpy", "2.1.0")))
    settled = settle(plan(environment, allow=("torch",)), environment, lookup)
    question = lookup.asked[0]
    assert question.constraints == ("numpy==2.1.0",)
    assert question.indexes == ("https://download.pytorch.org/whl/cu132",)
    assert (question.python, question.machine, question.glibc) == ("3.12", "x86_64", (2, 39))
    assert "nvidia-nccl-cu13==2.29.0" in requirements(settled)
    assert all(isinstance(step, Install) for step in settled.steps)


def test_a_plan_without_open_steps_asks_nobody() -> None:
    installed = {"torch": "2.8.0", "einops": "0.8.1"}
    environment = with_packages(described({**H100, "torch": "2.8.0+cu128"}), installed)
    lookup = Oracle(())
    assert settle(plan(environment), environment, lookup) == plan(environment)
    assert not lookup.asked


QUESTION = IndexQuery(
    requirements=("einops",),
    constraints=("numpy==2.1.0",),
    python="3.12",
    machine="x86_64",
    glibc=(2, 33),
    indexes=("https://example.org/whl/cu128",),
)


def test_uv_is_asked_for_a_lock_file_and_its_markers_are_heeded() -> None:
    runner = TableRunner({"compile": printed(LOCK)})
    answer = UvLookup(runner=runner, uv="/bin/uv", offline=True).answer(QUESTION)
    assert [(one.name, one.version, one.sha256) for one in answer] == [("einops", Version("0.8.1"), "ab" * 32)]
    command = runner.seen[0]
    assert command.stdin == b"einops\n"
    options = " ".join(command.argv)
    for words in ("--python-version 3.12", "--python-platform x86_64-manylinux_2_33", "--offline", "--no-build"):
        assert words in options
    assert "--index https://example.org/whl/cu128" in options


@pytest.mark.parametrize(
    ("machine", "glibc", "platform"),
    [
        ("x86_64", (2, 35), "x86_64-manylinux_2_35"),
        ("aarch64", (2, 30), "aarch64-manylinux_2_28"),
        ("x86_64", (2, 99), "x86_64-manylinux_2_40"),
        ("x86_64", (2, 12), "x86_64-manylinux_2_17"),
        ("x86_64", None, "x86_64-manylinux_2_28"),
        (None, (2, 35), "linux"),
    ],
)
def test_the_platform_in_uvs_words(machine: str | None, glibc: tuple[int, int] | None, platform: str) -> None:
    question = IndexQuery(requirements=(), constraints=(), python=None, machine=machine, glibc=glibc, indexes=())
    assert uv_platform(question) == platform


def test_no_answer_keeps_what_uv_said() -> None:
    runner = TableRunner({"compile": printed("", returncode=1, errors="No solution found\nbecause of torch")})
    with pytest.raises(NoPlanFound) as caught:
        UvLookup(runner=runner, uv="uv").answer(QUESTION)
    assert caught.value.evidence == ("No solution found", "because of torch")


@pytest.mark.parametrize("text", ["not toml [", 'lock-version = "1.0"', LOCK.replace("url =", "path =")])
def test_an_answer_that_is_no_lock_file_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        UvLookup(runner=TableRunner({"compile": printed(text)}), uv="uv").answer(QUESTION)


@pytest.mark.index
def test_uv_settles_einops_for_real() -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    environment = described({**H100, "torch": "2.8.0+cu128"})
    settled = settle(plan(environment), environment, UvLookup(runner=SystemRunner(), uv=uv))
    einops = settled.steps[1]
    assert isinstance(einops, Install)
    assert einops.sha256 is not None
    assert len(einops.sha256) == 64
    assert einops.url is not None
    assert einops.url.endswith(".whl")
