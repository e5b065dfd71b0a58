"""The doctor ships itself: the real package, unpacked and run by real interpreters, without a cluster."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clusters import LocalSlurm, NoSlurm, environment, hanging
from reports import folder, text

from fakes import TableRunner, printed
from flash_doctor.cli.app import main
from flash_doctor.errors import BadInput, CommandFailed, TimedOut
from flash_doctor.fleet.gather import Errand, NodeAnswer, Shipment, gather, pack
from flash_doctor.fleet.ray import Ray
from flash_doctor.fleet.reading import read_document
from flash_doctor.fleet.slurm import LAUNCH, Slurm, each
from flash_doctor.model.fleet import Lost, Node
from flash_doctor.system.process import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_doctor.system.process import Runner


@pytest.fixture(scope="module")
def shipment() -> Shipment:
    return pack()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLASH_DOCTOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return tmp_path / "cache" / "shipped"


def on_node(errand: Errand, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", errand.stub, *errand.arguments],
        input=errand.shipment.data,
        capture_output=True,
        env={**os.environ, **environ},
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def told(errand: Errand, output: str, **more: Any) -> dict[str, Any]:
    """The document that the answer of one node becomes."""

    class One:
        def answers(self, errand: Errand) -> Any:
            now = time.time()
            yield NodeAnswer(
                node="n1", sent=more.get("sent", now - 60), received=now, output=output, failure="it failed"
            )

    (gathered,) = gather(One(), errand)
    document: dict[str, Any] = json.loads(gathered.document)
    return document


@pytest.mark.parametrize("opened", [".", ".."])
def test_a_node_runs_nothing_out_of_a_folder_that_others_can_write(
    shipment: Shipment, cache: Path, tmp_path: Path, opened: str
) -> None:
    """Another user who can rename in the cache, or above it, puts his own doctor in the place of ours."""
    errand = Errand(host_only=True, shipment=shipment)
    on_node(errand)
    (kept,) = cache.iterdir()
    ran = tmp_path / "ran"
    (kept / "flash_doctor" / "cli" / "node.py").write_text(f"open({str(ran)!r}, 'a').close()\n")
    on_node(errand)
    assert ran.exists(), "our own folder is believed"
    ran.unlink()
    (cache / opened).chmod(0o777)
    assert told(errand, on_node(errand).stdout)["schema"] == "flash-doctor/report/1"
    assert not ran.exists()


def test_equal_doctors_are_equal_packages_and_hold_what_a_check_needs(shipment: Shipment) -> None:
    assert pack() == shipment
    names = set(zipfile.ZipFile(io.BytesIO(shipment.data)).namelist())
    needed = {"flash_doctor/cli/node.py", "flash_doctor/wheel_matrix/drivers.toml", "packaging/version.py", "pynvml.py"}
    assert needed <= names
    assert not [name for name in names if name.endswith(".so") or "__pycache__" in name]
    assert {name for name in names if "/cli/" in name} == {"flash_doctor/cli/__init__.py", "flash_doctor/cli/node.py"}
    assert len(shipment.data) < 5_000_000


def test_a_bare_interpreter_checks_itself_with_the_shipped_doctor(shipment: Shipment, tmp_path: Path) -> None:
    errand = Errand(python=str(environment(tmp_path / "env", "2.8.0+cu128")), shipment=shipment)
    # -I: nothing that is installed beside this test's own Python is found through variables or the user's folder
    document = told(errand, on_node(errand).stdout)
    assert document["schema"] == "flash-doctor/report/1"
    assert document["environment"]["torch"]["version"] == "2.8.0+cu128"
    assert document["fleet"]["node"] == "n1"
    assert document["fleet"]["clock"]["low"] <= 0 <= document["fleet"]["clock"]["high"]
    node = read_document(json.dumps(document))
    assert isinstance(node, Node)
    assert node.values["torch"] == "2.8.0"


def test_the_package_is_unpacked_once_and_only_where_nobody_else_can_write(shipment: Shipment, cache: Path) -> None:
    errand = Errand(host_only=True, shipment=shipment)
    assert '"schema' in on_node(errand).stdout.replace("\\", "")
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    (kept / "flash_doctor" / "cli" / "node.py").write_text("def main(**options): return 'the kept one'\n")
    assert "the kept one" in on_node(errand).stdout
    kept.chmod(0o777)
    assert "the kept one" not in on_node(errand).stdout


def test_a_home_that_cannot_be_written_to_is_no_hindrance(shipment: Shipment, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    errand = Errand(host_only=True, shipment=shipment)
    done = on_node(errand, FLASH_DOCTOR_CACHE=str(file), TMPDIR=str(scratch))
    assert told(errand, done.stdout)["schema"] == "flash-doctor/report/1"
    assert list(scratch.iterdir()) == []


def test_a_package_that_was_cut_on_the_way_is_not_run(shipment: Shipment) -> None:
    errand = Errand(shipment=Shipment(shipment.data[:-1], shipment.digest))
    document = told(errand, on_node(errand).stdout)
    assert "arrived damaged" in document["why"]


def test_a_check_that_hangs_ends_in_time_and_leaves_no_child(shipment: Shipment, tmp_path: Path) -> None:
    patient = hanging(tmp_path / "hangs")
    errand = Errand(python=str(patient), timeout=2, shipment=shipment)
    start = time.monotonic()
    document = told(errand, on_node(errand).stdout)
    assert time.monotonic() - start < 10
    assert document["why"] == "unreachable: its check did not end within 2 seconds"
    child = int((patient / "started").read_text())
    for _ in range(50):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()


def test_a_missing_interpreter_is_told_in_the_checks_own_words(shipment: Shipment, tmp_path: Path) -> None:
    errand = Errand(python=str(tmp_path / "gone"), shipment=shipment)
    found = read_document(json.dumps(told(errand, on_node(errand).stdout)))
    assert isinstance(found, Lost)
    assert "there is no such interpreter" in found.why


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("", "unreachable: it failed"),
        ("\n@@MARK failed 3\n", "unreachable: 3"),
        ('\n@@OTHER report "{}"\n', "unreachable: it failed"),
        ("\n@@MARK report {not json\n", "unreachable: it failed"),
        ('\n@@MARK report "rubbish"\n', "unreachable: it says 'rubbish'"),
    ],
)
def test_whatever_a_node_prints_it_is_one_row(shipment: Shipment, output: str, why: str) -> None:
    assert told(Errand(mark="MARK", shipment=shipment), output)["why"] == why


def test_programs_that_print_on_the_node_disturb_nobody(shipment: Shipment) -> None:
    errand = Errand(mark="MARK", shipment=shipment)
    output = f"Welcome!\n@@MARK began 1.0\nnoise\n@@MARK report {json.dumps(text('liar'))}\nbye"
    document = told(errand, output, sent=0.0)
    assert document["fleet"]["node"] == "n1"
    assert "clock" not in document["fleet"], "without an end nothing is known of the clock"


def test_a_clock_that_jumps_during_the_check_tells_nothing(shipment: Shipment) -> None:
    errand = Errand(mark="MARK", shipment=shipment)
    output = f"\n@@MARK began 100.0\n\n@@MARK report {json.dumps(text('a'))}\n\n@@MARK ended 900.0\n"
    assert "clock" not in told(errand, output)["fleet"]


def rows(
    runner: Runner, errand: Errand, environ: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Node | Lost]:
    engine = Slurm(runner=runner, environ=environ or {}, **more)
    return {one.node: read_document(one.document, label=one.node) for one in gather(engine, errand)}


def test_slurm_gives_each_node_one_row(shipment: Shipment, tmp_path: Path) -> None:
    good, odd = environment(tmp_path / "good", "2.8.0+cu128"), environment(tmp_path / "odd", "2.7.1+cu126")
    slurm = LocalSlurm(
        states={"n1": "idle", "n2": "allocated", "n3": "down*", "n4": "drained", "n5": "mixed", "n6": "idle"},
        variables={
            "n1": {"VIRTUAL_ENV": str(good)},
            "n2": {"VIRTUAL_ENV": str(odd), "NCCL_PROTO": "LL"},
            "n6": {"VIRTUAL_ENV": str(hanging(tmp_path / "hangs"))},
        },
        refused={"n5": "Unable to allocate resources: Requested nodes are busy"},
    )
    found = rows(slurm, Errand(timeout=3, shipment=shipment))
    assert sorted(found) == ["n1", "n2", "n3", "n4", "n5", "n6"]
    torch = {name: node.values["torch"] for name, node in found.items() if isinstance(node, Node)}
    assert torch == {"n1": "2.8.0", "n2": "2.7.1"}
    why = {name: lost.why for name, lost in found.items() if isinstance(lost, Lost)}
    assert why["n3"] == "unreachable: Slurm says that it is down*"
    assert why["n4"] == "unreachable: Slurm says that it is drained"
    assert why["n5"] == "unreachable: Unable to allocate resources: Requested nodes are busy"
    assert why["n6"] == "unreachable: its check did not end within 3 seconds"


def test_srun_waits_outside_of_an_allocation_and_shares_inside_of_one(shipment: Shipment) -> None:
    def srun(environ: dict[str, str]) -> tuple[str, ...]:
        slurm = LocalSlurm(states={"n1": "idle"}, refused={"n1": "no"})
        rows(slurm, Errand(timeout=100, shipment=shipment), environ)
        return next(command.argv for command in slurm.seen if command.argv[0] == "srun")

    outside = srun({})
    assert {"-N1", "-n1", "--overlap", "--immediate=30", "--time=3"} <= set(outside)
    inside = srun({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1"})
    assert {"-N1", "-n1", "--overlap"} <= set(inside)
    assert not any(word.startswith(("--immediate", "--time")) for word in inside)


def test_a_node_that_slurm_does_not_know_is_a_row(shipment: Shipment) -> None:
    found = rows(LocalSlurm(states={}), Errand(shipment=shipment), nodelist="n8,n9")
    assert sorted(found) == ["n8", "n9"]
    assert all(isinstance(lost, Lost) and "unknown to this cluster" in lost.why for lost in found.values())


@pytest.mark.parametrize(
    ("done", "why"),
    [
        (printed("rubbish"), "unreachable: it answered nothing (srun ended with 0)"),
        (printed("", 1), "unreachable: it answered nothing (srun ended with 1)"),
        (printed("", 1, "noise\nsrun: error: Node failure on n1\n"), "unreachable: Node failure on n1"),
        (Completed(returncode=0, stdout=b"x", stderr=b"", truncated=True), "unreachable: it printed more than 16 MiB"),
        (CommandFailed("srun did not end within 90 seconds"), "unreachable: srun did not end within 90 seconds"),
    ],
)
def test_what_srun_says_becomes_the_reason(shipment: Shipment, done: Completed | CommandFailed, why: str) -> None:
    runner = TableRunner(rules={"sinfo": printed("n1 idle\n"), "srun": done})
    found = rows(runner, Errand(shipment=shipment))["n1"]
    assert isinstance(found, Lost)
    assert found.why == why


def test_without_slurm_it_is_said_so(shipment: Shipment) -> None:
    with pytest.raises(BadInput, match="Slurm does not answer"):
        rows(NoSlurm(), Errand(shipment=shipment))


def test_a_node_without_a_new_enough_python_says_so(shipment: Shipment, tmp_path: Path) -> None:
    errand = Errand(shipment=shipment)
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin" / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", LAUNCH, "sh", errand.stub, errand.python, *errand.arguments],
        capture_output=True,
        env={"PATH": str(tmp_path / "bin")},
    )
    assert told(errand, done.stdout.decode())["why"].startswith("unreachable: no Python 3.10 or newer is on its PATH")


def test_work_is_bounded_and_an_item_that_never_ends_stops_nobody() -> None:
    def work(item: int) -> int:
        time.sleep(30 if item == 3 else 0)
        return item

    start = time.monotonic()
    assert sorted(each(work, range(8), limit=4, patience=0.5)) == [0, 1, 2, 4, 5, 6, 7]
    assert time.monotonic() - start < 5


def driver(*lines: object) -> str:
    return "noise\n" + "".join(f"\n@@MARK {json.dumps(line)}\n" for line in lines)


def ray(output: str | TimedOut, errors: str = "") -> TableRunner:
    answer = output if isinstance(output, TimedOut) else printed(output, errors=errors)
    return TableRunner(rules={"find_spec('ray')": printed(""), "NodeAffinity": answer})


def test_ray_nodes_that_the_driver_did_not_live_to_tell_are_rows(shipment: Shipment) -> None:
    one = {"node": "a", "sent": 1.0, "received": 2.0, "output": "x", "failure": ""}
    output = driver({"nodes": ["a", "b"], "at": 1.0}, one)
    for runner in (ray(output), ray(TimedOut("python did not end", output.encode()))):
        found = list(Ray(runner=runner).answers(Errand(mark="MARK", shipment=shipment)))
        assert {answer.node: answer.failure for answer in found} == {
            "a": "",
            "b": "Ray's driver ended before it answered",
        }


def test_a_ray_cluster_that_does_not_answer_is_bad_input_with_its_words(shipment: Shipment) -> None:
    runner = ray("", errors="Traceback\nConnectionError: Could not find any running Ray instance.")
    with pytest.raises(BadInput, match="does not answer") as caught:
        list(Ray(runner=runner).answers(Errand(mark="MARK", shipment=shipment)))
    assert "ConnectionError: Could not find any running Ray instance." in caught.value.evidence


def test_without_ray_it_is_said_where_to_get_it(shipment: Shipment) -> None:
    with pytest.raises(BadInput, match="no Python with Ray") as caught:
        list(Ray(runner=TableRunner(), environ={"PATH": ""}).answers(Errand(shipment=shipment)))
    assert "--python" in caught.value.advice


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    code = main(["fleet", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_compare_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder(tmp_path / "reports", [text("a"), text("b")])
    code, shown = run(capsys, "compare", place)
    assert (code, shown.partition("\n")[0][:15]) == (0, "2 nodes: Alike:")
    metrics = tmp_path / "fleet.prom"
    (tmp_path / "good.json").write_text(text("good", {"host": {"machine": "aarch64"}}))
    code, shown = run(capsys, "compare", place, "--against", tmp_path / "good.json", "--json", "--prometheus", metrics)
    document = json.loads(shown)
    assert (code, document["exit_code"], document["verdict"], document["against"]) == (1, 1, "broken", "good")
    assert 'flash_doctor_fleet_node_up{node="a"} 1\n' in metrics.read_text()


def test_the_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = folder(tmp_path / "lost", [text("a"), "rubbish"])
    assert run(capsys, "compare", lost)[0] == 6
    unknown = folder(tmp_path / "unknown", [text("a"), text("b", {"gpus": {"unknown": "no answer"}})])
    assert run(capsys, "compare", unknown)[0] == 0
    assert run(capsys, "compare", unknown, "--strict")[0] == 6


def test_options_of_the_other_engine_are_refused() -> None:
    with pytest.raises(BadInput, match="--nodelist is for --engine slurm"):
        main(["fleet", "check", "--engine", "ray", "--nodelist", "n1"])
