"""A wrong kernel must fail: stand-ins that lie, crash or hang against the real torch on the CPU; the honest passes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from flash_doctor.model import Severity, Target
from flash_doctor.model.proof import Blame, Level, Proof
from flash_doctor.system.process import Command, Completed, SystemRunner
from flash_doctor.verify import verify
from flash_doctor.verify.judge import ScriptEnd, judge
from standins import MANNERS, SPOILS, make

# disease -> the finding that names it
EXPECTED = {
    "garbage": "V204",
    "nan": "V204",
    "one nan": "V204",
    "zeros": "V204",
    "the input": "V204",
    "a tenth off": "V204",
    "unwritten tail": "V204",
    "wrong gradients": "V204",
    "wrong precision": "V204",
    "no kernel image": "V202",
    "out of memory": "V103",
    "segfault": "V205",
    "abort": "V205",
    "killed from outside": "V104",
    "hang": "V205",
    "exit": "V205",
    "changes its inputs": "V204",
    "crash on long inputs": "V205",
    "exit at import": "V205",
    "forged results": "V205",
}


RIGHT = {"event": "end", "step": "case", "ok": True}


class PathRunner(SystemRunner):
    """The real runner, with a folder of stand-ins on the target's PYTHONPATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, command: Command) -> Completed:
        path = {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        return super().run(replace(command, environment={**command.environment, **path}))


def prove(folder: Path, torch_venv: Path, disease: str, manners: str = "", **options: object) -> Proof:
    make(folder / "library", disease, manners)
    return verify(
        Target(python=torch_venv / "bin" / "python", why="test"),
        PathRunner(folder / "library"),
        entry="flash_attn",
        head_dims=(64,),
        device="cpu",
        scratch=folder,
        timeout=12.0 if disease == "hang" else 120.0,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.torch
def test_the_honest_one_passes_on_every_case(tmp_path: Path, torch_venv: Path) -> None:
    told: list[bytes] = []
    proof = prove(tmp_path, torch_venv, "honest", progress=told.append)
    assert (proof.level, proof.blame) == (Level.KERNEL, Blame.NOTHING)
    assert not [finding for finding in proof.findings if finding.severity is Severity.ERROR]
    assert proof.cases == 12
    assert proof.library == "9.9"
    assert proof.devices == ("cpu",)
    assert proof.speeds[0].torch > 0
    assert proof.speeds[0].ceiling > 0
    assert b'"begin"' in b"".join(told)


@pytest.mark.torch
@pytest.mark.parametrize("disease", EXPECTED)
def test_a_wrong_one_is_caught_and_named(tmp_path: Path, torch_venv: Path, disease: str) -> None:
    proof = prove(tmp_path, torch_venv, disease)
    errors = [finding for finding in proof.findings if finding.severity is Severity.ERROR]
    assert {finding.code for finding in errors} == {EXPECTED[disease]}
    assert proof.level is not Level.KERNEL
    assert proof.cases == (12 if disease == "crash on long inputs" else 0)
    assert proof.blame is (Blame.MACHINE if disease in {"out of memory", "killed from outside"} else Blame.LIBRARY)
    assert all(finding.evidence for finding in errors)


def runs(pid: int) -> bool:
    """One that ended may be there still, where nobody asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.torch
@pytest.mark.parametrize("manners", MANNERS)
def test_bad_manners_are_no_disease(tmp_path: Path, torch_venv: Path, manners: str) -> None:
    start = time.monotonic()
    proof = prove(tmp_path, torch_venv, "honest", MANNERS[manners])
    assert (proof.level, proof.blame, proof.cases) == (Level.KERNEL, Blame.NOTHING, 12)
    assert proof.library == "9.9"
    for left in (tmp_path / "library" / "flash_attn").glob("*.pid"):
        assert time.monotonic() - start < 60, "nobody waits for what a library leaves behind"
        while runs(int(left.read_text())):
            assert time.monotonic() - start < 60, "what a library leaves behind is ended"
            time.sleep(0.05)


@pytest.mark.torch
def test_a_crash_at_the_end_is_told_and_takes_nothing_back(tmp_path: Path, torch_venv: Path) -> None:
    proof = prove(tmp_path, torch_venv, "honest", "import atexit, os; atexit.register(os.abort)")
    assert [(finding.code, finding.severity) for finding in proof.findings if finding.code != "V302"] == [
        ("V303", Severity.WARNING)
    ]
    assert "SIGABRT" in proof.findings[-1].summary
    assert (proof.level, proof.cases) == (Level.KERNEL, 12)


@pytest.mark.torch
def test_the_folder_that_verify_is_called_from_proves_nothing(
    tmp_path: Path, torch_venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "checkout", "zeros")
    (tmp_path / "checkout" / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path / "checkout")
    proof = prove(tmp_path, torch_venv, "honest")
    assert (proof.level, proof.blame) == (Level.KERNEL, Blame.NOTHING)


def test_a_new_torch_that_does_not_import_is_the_librarys_fault() -> None:
    begun = {"event": "begin", "step": "import torch"}
    failed = {"event": "end", "step": "import torch", "ok": False, "error": "x", "kind": "ImportError", "where": ()}
    assert judge(ScriptEnd(events=(begun, failed)), import_only=True).blame is Blame.MACHINE
    assert judge(ScriptEnd(events=(begun, failed)), import_only=True, new_torch=True).blame is Blame.LIBRARY
    assert judge(ScriptEnd(events=(begun,), code=-11), import_only=True, new_torch=True).blame is Blame.LIBRARY


def test_nothing_tried_is_nothing_proved() -> None:
    assert judge(ScriptEnd(events=({"event": "finished"},)), import_only=False).level is Level.STATIC


THREE = """
import flash_attn


def flash_attn_func(q, k, v, softmax_scale=None, causal=False):
    return flash_attn.flash_attn_func(q, k, v, causal=causal), "log-sum-exp"


def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal=False):
    return flash_attn.flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, 0, 0, causal=causal), None
"""


@pytest.mark.torch
@pytest.mark.parametrize("module", ["flash_attn_interface", "flash_attn.cute"])
@pytest.mark.parametrize(("disease", "code"), [("honest", ""), ("wrong gradients", "V204")])
def test_flash_attention_3_and_4_are_called_by_their_own_modules(
    tmp_path: Path, torch_venv: Path, module: str, disease: str, code: str
) -> None:
    """They know no dropout, here no window either, and give back a pair."""
    library = make(tmp_path / "library", disease)
    path = library.joinpath(*module.split("."))
    path.mkdir(parents=True)
    (path / "__init__.py").write_text(THREE)
    proof = verify(
        Target(python=torch_venv / "bin" / "python", why="test"),
        PathRunner(library),
        entry=module,
        head_dims=(64,),
        device="cpu",
        scratch=tmp_path,
    )
    found = [finding.code for finding in proof.findings if finding.severity is Severity.ERROR]
    assert (found, proof.cases) == ([code] if code else [], 0 if code else 8)


def test_every_disease_is_expected_somewhere() -> None:
    assert set(EXPECTED) == set(SPOILS) - {"honest"}


@pytest.mark.torch
def test_a_library_that_is_not_there_or_lacks_a_part(tmp_path: Path, torch_venv: Path) -> None:
    target = Target(python=torch_venv / "bin" / "python", why="test")
    absent = verify(target, PathRunner(tmp_path), entry="flash_attn", head_dims=(64,), device="cpu", scratch=tmp_path)
    assert [finding.code for finding in absent.findings] == ["V201"]
    assert "No module named 'flash_attn'" in absent.findings[0].evidence[0]
    make(tmp_path / "library", "honest")
    (tmp_path / "library" / "flash_attn" / "layers" / "rotary.py").write_text("import einops_that_is_missing")
    lacking = verify(
        target,
        PathRunner(tmp_path / "library"),
        entry="flash_attn",
        head_dims=(64,),
        import_only=True,
        scratch=tmp_path,
    )
    assert [finding.subject for finding in lacking.findings] == ["flash_attn.layers.rotary"]
    assert (lacking.level, lacking.blame) == (Level.STATIC, Blame.LIBRARY)


@pytest.mark.torch
def test_without_a_gpu_the_machine_is_blamed_and_the_import_stands(tmp_path: Path, torch_venv: Path) -> None:
    make(tmp_path / "library", "honest")
    proof = verify(
        Target(python=torch_venv / "bin" / "python", why="test"),
        PathRunner(tmp_path / "library"),
        entry="flash_attn",
        head_dims=(64,),
        scratch=tmp_path,
    )
    assert [finding.code for finding in proof.findings] == ["V102"]
    assert (proof.level, proof.blame) == (Level.IMPORT, Blame.MACHINE)


def test_torch_that_does_not_import_is_not_the_librarys_fault(venv: Path, tmp_path: Path) -> None:
    proof = verify(
        Target(python=venv / "bin" / "python", why="test"),
        SystemRunner(),
        entry="flash_attn",
        head_dims=(64,),
        scratch=tmp_path,
    )
    assert [finding.code for finding in proof.findings] == ["V101"]
    assert proof.blame is Blame.MACHINE


def test_one_unlucky_input_is_a_warning() -> None:
    fault = {"event": "fault", "case": "c", "device": "cuda:0", "fault": "off", "again": 0}
    proof = judge(ScriptEnd(events=(fault, RIGHT, {"event": "finished"})), import_only=False)
    assert [finding.severity for finding in proof.findings] == [Severity.WARNING]
    assert proof.level is Level.KERNEL


def test_a_slow_path_warns_and_never_fails() -> None:
    speed = {"event": "speed", "device": "cuda:0", "library": 100.0, "sdpa": 500.0, "matmul": 700.0}
    proof = judge(ScriptEnd(events=(RIGHT, speed, {"event": "finished"})), import_only=False)
    assert [finding.code for finding in proof.findings] == ["V302"]
    assert (proof.level, proof.blame) == (Level.KERNEL, Blame.NOTHING)
    on_cpu = judge(ScriptEnd(events=({**speed, "device": "cpu"}, {"event": "finished"})), import_only=False)
    assert on_cpu.findings == ()
