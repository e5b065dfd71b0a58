"""A few hundred changed inputs for every reader of what strangers wrote; scripts/dev/fuzz.py tries millions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DEV = Path(__file__).parents[1] / "scripts" / "dev"
SEED = "short"
FEW, MANY = 60, 300  # inputs of a slow reader and of another one


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    """The parts of the fuzzer; its timer is taken off again."""
    sys.path.insert(0, str(DEV))
    before = signal.getsignal(signal.SIGPROF)
    try:
        module: Any = import_module("fuzzing.running")
        module.stoppable()
        yield module
    finally:
        signal.signal(signal.SIGPROF, before)
        sys.path.remove(str(DEV))


def kinds() -> list[str]:
    done = subprocess.run([sys.executable, DEV / "fuzz.py", "--list"], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("kind", kinds())
def test_nothing_comes_out_but_what_is_promised(kind: str, running: Any) -> None:
    reader = running.READERS[kind]
    reader.prepare()
    trial = running.Trial(reader, SEED)
    for number in range(len(reader.plain) + (FEW if reader.slow else MANY)):
        trial.one(number)
    assert trial.tally.findings == [], (
        f"scripts/dev/fuzz.py --kind {kind} --seed {SEED} --only NUMBER shows one of them"
    )
    # else something was refused at the door, and the reader behind it was never tried
    assert trial.tally.read > 0


def test_an_input_is_made_again_by_its_number(running: Any) -> None:
    reader = running.READERS["report"]
    reader.prepare()
    numbers = range(len(reader.plain), len(reader.plain) + 40)
    first = [running.made(reader, SEED, number) for number in numbers]
    assert first == [running.made(reader, SEED, number) for number in numbers]
    assert len(set(first)) > 30
    assert first != [running.made(reader, "another", number) for number in numbers]


class _Sick:
    """A reader that does to each input what the input says."""

    name, allowed, plain = "sick", (KeyError,), [b"raise", b"refuse", b"fill", b"spin", b"read", b"end"]

    def call(self, data: bytes) -> None:
        if data == b"raise":
            message = "not promised"
            raise TypeError(message)
        if data == b"refuse":
            raise KeyError
        if data == b"spin":
            while True:
                pass
        if data == b"fill":
            bytes(b"x" * 600_000_000)
        if data == b"end":
            raise SystemExit(3)


def test_what_a_reader_may_not_do_is_found(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = running.Trial(_Sick(), SEED)
    # a slow machine takes its time to fill so much: that is no fault of the sick reader
    monkeypatch.setattr(running, "CPU_SECONDS", 1000.0)
    monkeypatch.setattr(running, "STOP_SECONDS", 1000.0)
    wrong = [trial.one(number) for number in range(3)]
    monkeypatch.setattr(running, "STOP_SECONDS", 0.5)
    wrong += [trial.one(number) for number in range(3, 6)]
    assert wrong[0].startswith("TypeError at ")
    assert wrong[1] == wrong[4] == ""
    assert wrong[2].endswith(" MiB")
    assert wrong[3].startswith("it was stopped after")
    assert wrong[5].startswith("SystemExit at ")
    assert (trial.tally.inputs, trial.tally.refused, trial.tally.read) == (6, 1, 2)


def test_a_short_run_is_recorded(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    argv = [sys.executable, str(DEV / "fuzz.py"), "--kind", "pins", "--kind", "smi", "--count", "60", "--jobs", "2"]
    done = subprocess.run([*argv, "--record", str(record)], capture_output=True, text=True, check=False)
    assert "120 inputs" in done.stdout, done.stderr
    told = json.loads(record.read_text())
    assert [kind["kind"] for kind in told["kinds"]] == ["pins", "smi"]
    assert told["inputs"] == 120


def test_coverage_without_atheris_says_what_to_install() -> None:
    code = "import sys; sys.modules['atheris'] = None; sys.argv = ['fuzz.py', '--coverage', '--kind', 'elf']\n"
    code += f"import runpy; runpy.run_path({str(DEV / 'fuzz.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install atheris" in done.stderr
