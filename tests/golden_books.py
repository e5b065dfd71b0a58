"""The books of the golden tree: every command over all that is recorded, and each way of typing it wrong."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reports
import ward

from compiled import extension, gpu_code, needs, references, shared
from goldens import Book, call, said
from preflight_bench import CASES, mutate
from wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from goldens import Call

TESTS = Path(__file__).parent
FOUND = "2.8.0+cu128"
MESSAGES = 100  # of one book of other threads
COMMANDS = (
    (), ("check",), ("explain",), ("run",), ("abi",), ("plan",), ("fix",), ("verify",), ("rollback",), ("bundle",),
    ("preflight",), ("watch",), ("stacks",), ("lint-setup",), ("matrix",), ("matrix", "show"), ("matrix", "lint"),
    ("matrix", "coverage"), ("matrix", "refresh"), ("fleet",), ("fleet", "check"), ("fleet", "compare"),
)  # fmt: skip
H100 = (
    "--gpu", "H100x8", "--driver", "570.86", "--python-version", "3.12", "--glibc", "2.35", "--machine", "x86_64",
)  # fmt: skip
SYMBOL_280 = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib"
SYMBOL_210 = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb"


def books() -> list[Book]:
    """All of them, by name."""
    found = [
        Book("help", _help),
        Book("usage", _usage),
        Book("check", _check),
        Book("plan", _plans),
        Book("stacks", _stacks),
        Book("matrix", _matrix),
        Book("fleet", _fleet),
        Book("watch", _watch),
        Book("abi", _abi),
        Book("lint-setup", _lint_setup),
        Book("explain/codes", _codes),
        Book("explain/cases", _complaints),
        Book("explain/healthy", _healthy_logs),
        Book("explain/unrelated", _unrelated),
        *(Book(f"explain/threads-{number}", _threads(number)) for number in range(_thread_books())),
        *(Book(f"machines/{name}", _machine(name)) for name in ward.names()),
        *(Book(f"plan/{path.stem}", _plan(path)) for path in sorted((TESTS / "cases").glob("*.json"))),
        *(Book(f"preflight/{case.name}", _preflight(case)) for case in sorted(CASES.iterdir()) if case.is_dir()),
    ]
    return sorted(found, key=lambda book: book.name)


def both(*words: str, **more: Any) -> tuple[Call, Call]:
    """As text and as a document."""
    return call(*words, **more), call(*words, "--json", **more)


def _help(_: Path) -> Iterator[Call]:
    for words in COMMANDS:
        yield call(*words, "--help")
    yield from (call(*words, "-h") for words in ((), ("matrix",), ("check",)))
    yield from (call(), call("matrix"), call("fleet"), call("--version"))
    yield call("plan", "--help", COLUMNS="40")
    yield call("plan", "--help", COLUMNS="200")


def _usage(folder: Path) -> Iterator[Call]:
    (folder / "empty").touch()
    (folder / "broken.json").write_text("{")
    (folder / "other.json").write_text('{"schema": "another/1"}')
    (folder / "folder").mkdir()
    report = _record(folder, ward.HEALTHY)
    for words in COMMANDS[1:]:
        yield from both(*words, "--no-such-option")
    wrong = [
        "chekc", "explain nothing.log", "explain folder", "explain Q999", "explain f61", "run", "run --", "abi",
        "abi nothing.so", "abi empty", "bundle", "preflight", "preflight nothing.yaml", "preflight empty --gpus 0",
        "preflight folder", "preflight broken.json --data-sample x", "watch", "watch nothing --once",
        "watch empty --once --every 0", "watch empty --once --max-disk 101", "watch empty --once --idle long",
        "stacks show", "stacks show nothing", "stacks --check nothing", "lint-setup", "lint-setup nothing",
        "matrix nothing", "matrix show nothing", "fleet compare", "fleet compare nothing", "fleet check",
        "fleet check --engine nothing", "fleet compare broken.json", "fleet compare --against broken.json other.json",
        "check --for nothing.json", "check --for broken.json", "check --for other.json", "check --for folder",
        f"check --for {report} --only nothing", f"check --for {report} --only ,", f"check --for {report} --stack none",
        f"check --for {report} --only gpu --stack seed", f"check --for {report} --fail-on info",
        "check --python nothing", "check --python folder", "verify --python nothing", "verify --timeout x",
        "fix --python nothing", "fix --plan nothing.json", "fix --plan broken.json", "fix --bundle folder --offline",
        "fix --installer conda", "rollback --python nothing", "bundle folder --plan broken.json",
        f"plan --for {report} --gpu H100", "plan --gpu unheard-of", "plan --gpu 4090x0", "plan --torch two",
        "plan --python-version three", "plan --glibc x", "plan --machine vax", "plan --driver x", "plan --want nothing",
        "plan --gpu H100 --allow everything", "plan --gpu H100 --keep torch --allow torch", "plan --format xml",
        "plan --gpu H100 --stack seed --want torch", "plan --gpu H100 --wheelhouse nothing --offline",
    ]  # fmt: skip
    for line in wrong:
        yield from both(*line.split())


def _record(folder: Path, name: str, file: str = "machine.json") -> str:
    """The report of a recorded machine, to be judged."""
    document = {
        "schema": "flash-doctor/report/1",
        "target": {"python": "/opt/train/bin/python", "why": "recorded"},
        "environment": ward.recorded(name),
        "findings": [],
        "unchecked": [],
        "score": {"value": 100, "checked": 1, "applicable": 1},
    }
    (folder / file).write_text(json.dumps(document))
    return file


def _machine(name: str) -> Any:
    def calls(folder: Path) -> Iterator[Call]:
        report = _record(folder, name)
        shutil.copytree(CASES / "sick-07-t4-flash-and-bf16", folder, dirs_exist_ok=True)
        yield call("check", "--for", report, "--output", "report.json", writes="report.json")
        # a plan takes as long as all the rest: one form of it for each machine
        yield both("plan", "--for", report, "--offline")[len(name) % 2]
        yield call("preflight", "config.yaml", "--for", report)

    return calls


def _check(folder: Path) -> Iterator[Call]:
    (folder / "train.log").write_text(f"ImportError: /venv/flash_attn_2_cuda.so: undefined symbol: {SYMBOL_210}\n")
    for name in (ward.HEALTHY, "flash-built-for-newer-torch", "torch-absent", "nvml-hangs"):
        report = _record(folder, name, f"{name}.json")
        for option in (
            "--strict", "--fail-on warning", "--only driver,gpu", "--only flash-attention", "--host-only",
            "--stack seed", "--only companions --stack seed",
        ):  # fmt: skip
            yield from both("check", "--for", report, *option.split())
        yield from (call("check", "--for", report, COLUMNS=columns) for columns in ("20", "40", "200"))
        yield call("check", "--for", report, FORCE_COLOR="1", TERM="xterm-256color")
        yield call("check", "--for", report, FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="1")
        yield from both("explain", "train.log", "--for", report)


def _described(machine: dict[str, str]) -> tuple[str, ...]:
    return tuple(word for key, value in machine.items() for word in (f"--{key.replace('_', '-')}", str(value)))


def _plan(path: Path) -> Any:
    case = json.loads(path.read_text(encoding="utf-8"))
    options = {"wanted": "--want", "keep": "--keep", "allow": "--allow"}
    goal = [word for key, words in case.get("goal", {}).items() for one in words for word in (options[key], one)]
    words = ("plan", "--offline", *_described(case["machine"]), *goal)

    def calls(_: Path) -> Iterator[Call]:
        yield from both(*words)

    return calls


def _plans(_: Path) -> Iterator[Call]:
    for torch in (FOUND, "2.15.0+cu126"):
        words = ("plan", "--offline", *H100, "--torch", torch)
        yield from (call(*words, "--format", form) for form in ("table", "json", "requirements", "pylock", "script"))
        yield from (call(*words, COLUMNS=columns) for columns in ("40", "200"))
        yield from both(*words, "--why", "flash_attn-2.8.3")
        yield from both(*words, "--allow", "torch,build,risky")
        yield from both(*words, "--want", "torch==2.9.1")
        yield from both(*words, "--want", "flash-attn-3")
        yield call(*words, FLASH_DOCTOR_PROGRAM="scripts/doctor")
    yield call("plan", "--offline", *H100, "--torch", FOUND, "--all")
    for stack in ("seed-stack", "seed"):
        yield from both("plan", "--offline", *H100, "--stack", stack)


def _stacks(folder: Path) -> Iterator[Call]:
    yield from both("stacks")
    listed = call("stacks", "list", "--json")
    yield listed
    for stack in json.loads(said(listed, folder).out)["stacks"]:
        yield from both("stacks", "show", stack["name"])


def _matrix(_: Path) -> Iterator[Call]:
    yield call("matrix", "show")
    yield from both("matrix", "lint")
    for part in ("dao-ailab", "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE", "cp312-cp312-win"):
        yield call("matrix", "show", part)
    yield from both("matrix", "show", "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312")
    yield from both("matrix", "coverage")
    yield from both("matrix", "coverage", "--torch", "2.8", "--machine", "aarch64")


def _fleet(folder: Path) -> Iterator[Call]:
    nodes = folder / "nodes"
    nodes.mkdir()
    slow: dict[str, Any] = {"variables": {"NCCL_PROTO": "LL"}}
    odd: dict[int, dict[str, Any]] = {3: reports.OLD_TORCH, 5: reports.OLD_FLASH, 7: slow}
    for number in range(1, 9):
        differs = odd.get(number)
        findings = [reports.finding("F601", plannable=True)] if number == 5 else []
        name = f"gpu{number:03}"
        (nodes / f"{name}.json").write_text(reports.text(name, differs, findings=findings))
    (folder / "alike").mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(nodes / "gpu001.json", folder / "alike" / f"{name}.json")
    (folder / "lines.jsonl").write_text("".join(f"{line}\n" for line in reports.many(300)))
    shutil.copytree(nodes, folder / "broken")
    (folder / "broken" / "gpu009.json").write_text("{")
    (folder / "broken" / "gpu010.json").write_text(reports.text("gpu010").replace("report/1", "report/9"))
    for place in ("nodes", "alike", "broken", "nodes/gpu001.json"):
        yield from both("fleet", "compare", place)
        yield call("fleet", "compare", place, "--strict")
        yield from both("fleet", "compare", place, "--against", "nodes/gpu003.json")
    yield from both("fleet", "compare", "-", stdin="lines.jsonl")
    yield call("fleet", "compare", "nodes", "--prometheus", "nodes.prom", writes="nodes.prom")
    yield call("fleet", "compare", "nodes", COLUMNS="120")


def _watch(folder: Path) -> Iterator[Call]:
    shutil.copytree(TESTS / "data" / "watch", folder / "runs")
    rows = [(step, 2.0 - step / 100, 1.0) for step in range(1, 40)]
    (folder / "metrics.jsonl").write_text(
        "".join(f'{{"step": {step}, "loss": {loss}, "grad_norm": {norm}}}\n' for step, loss, norm in rows)
        + '{"step": 40, "loss": NaN, "grad_norm": NaN}\n'
    )
    (folder / "empty.log").touch()
    for log in sorted((folder / "runs").glob("*.log")):
        yield from both("watch", "--once", f"runs/{log.name}")
    for place in ("metrics.jsonl", "empty.log", "runs", "runs/trainer_state.json"):
        yield from both("watch", "--once", place)
    yield from both("watch", "--once", "metrics.jsonl", "--max-disk", "30%")
    yield from both("watch", "--until-red", "metrics.jsonl")


def _abi(folder: Path) -> Iterator[Call]:
    bare = ("-nostdlib",)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    extension(folder, "fits", references([SYMBOL_280]), *bare)
    extension(folder, "newer", references([SYMBOL_210]), *bare)
    extension(folder, "nowhere", references(["_ZN3c104cuda7nowhereEv"]), *bare)
    extension(folder, "weak", references([], [SYMBOL_280]), *bare)
    extension(folder, "gpu", gpu_code(80, 90), *bare)
    extension(folder, "torch", references([SYMBOL_280]), *bare, *needs(folder, "libc10.so", "libtorch.so"))
    shared(folder / "plain.so", "int one(void) { return 1; }", *bare)
    (folder / "cut.so").write_bytes(b"\x7fELF\x02\x01\x01")
    (folder / "text.so").write_text("no library\n")
    files: dict[str, bytes | str] = {"thing/__init__.py": "", "thing_cuda.so": (folder / "newer.so").read_bytes()}
    wheel = build_wheel(folder, "thing", "1.0", files, tag="cp312-cp312-linux_x86_64")
    for name in sorted(path.name for path in folder.glob("*.so")):
        yield from both("abi", name, "--python", "venv")
    yield from both("abi", wheel.name, "--python", "venv")
    yield from both("abi", "fits.so", "newer.so", "plain.so", "--python", "venv")


def _lint_setup(folder: Path) -> Iterator[Call]:
    for place, names, readme in (
        ("right", ["0_a.sh", "1_b.sh"], "0_a.sh, then 1_b.sh"),
        ("twice", ["0_a.sh", "2_b.sh", "2_c.sh"], "0_a.sh 2_b.sh 2_c.sh"),
        ("silent", ["0_a.sh", "1_b.sh"], "1_b.sh"),
        ("none", [], ""),
    ):
        (folder / place).mkdir()
        for name in names:
            (folder / place / name).touch()
        (folder / place / "README.md").write_text(readme)
        yield from both("lint-setup", place)


def _codes(folder: Path) -> Iterator[Call]:
    yield from both("explain", "--list")
    listed = said(call("explain", "--list", "--json"), folder)
    codes = [row["code"] for row in json.loads(listed.out)["explanations"]]
    for code in codes:
        yield call("explain", code)
    for code in codes[::25]:
        yield call("explain", code, "--json")


def _logs(folder: Path, texts: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in texts:
        (folder / f"{name}.log").write_text(text + "\n", encoding="utf-8")
        yield f"{name}.log"


def _rows(file: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((TESTS / "explain" / file).read_text(encoding="utf-8"))
    return rows


def _complaints(folder: Path) -> Iterator[Call]:
    for log in _logs(folder, ((row["id"], row["symptom"]) for row in _rows("complaint_cases.json"))):
        yield from both("explain", log)


def _thread_books() -> int:
    return -(-len(_rows("other_threads.json")) // MESSAGES)


def _threads(number: int) -> Any:
    def calls(folder: Path) -> Iterator[Call]:
        rows = list(enumerate(_rows("other_threads.json")))[number * MESSAGES : (number + 1) * MESSAGES]
        for log in _logs(folder, ((f"thread-{index:03}", row["symptom"]) for index, row in rows)):
            yield call("explain", log)

    return calls


def _healthy_logs(folder: Path) -> Iterator[Call]:
    for path in sorted((TESTS / "explain" / "healthy").glob("*.log.gz")):
        name = path.name.removesuffix(".gz")
        (folder / name).write_bytes(gzip.decompress(path.read_bytes()))
        yield call("explain", name, "--json")


def _unrelated(folder: Path) -> Iterator[Call]:
    texts = (TESTS / "explain" / "unrelated.txt").read_text(encoding="utf-8").splitlines()
    for log in _logs(folder, ((f"line-{number:03}", text) for number, text in enumerate(texts))):
        yield call("explain", log, "--strict")
    (folder / "all.log").write_text("\n".join(texts), encoding="utf-8")
    yield from both("explain", "-", stdin="all.log")


def _preflight(case: Path) -> Any:
    changes = [
        change
        for file in ("mutations.json", "mutations-own.json")
        for change in json.loads((CASES / file).read_text(encoding="utf-8"))
        if change["base"] == case.name
    ]

    def calls(folder: Path) -> Iterator[Call]:
        shutil.copytree(case, folder / "case")
        config = next((folder / "case").glob("config.*")).name
        words = ("preflight", config, "--facts", "facts.json")
        yield from both(*words, folder="case")
        yield call(*words, "--strict", "--fail-on", "warning", folder="case")
        yield call(*words, "--gpus", "2", "--data-sample", "0", folder="case")
        for number, change in enumerate(changes):
            mutate(case.name, folder / f"{number:03}", change)
            yield call(*words, "--json", folder=f"{number:03}/case")

    return calls
