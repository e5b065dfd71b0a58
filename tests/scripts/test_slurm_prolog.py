"""slurm-prolog and slurm-health-check as slurmd runs them, without Slurm: real processes, files and file systems."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mounts import mounted
from prologs import BLIND, FOUND, HEALTH_CHECK, HEALTHY, PROLOG, ROOT, SICK, Node, compile_driver, real_doctor

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize(
    ("doctor", "code", "logged"),
    [
        (HEALTHY, 0, ""),
        (SICK, 1, "this node is drained: D203 driver: its gone"),
        (BLIND, 4, "NVML gave no answer (D203)"),
        # nothing said is nothing looked at, and 1 is what a Python ends with that cannot import the doctor, too
        ("exit 0", 4, "ended with 0; its last words: nothing"),
        ("exit 1", 4, "ended with 1"),
        ("echo 'ModuleNotFoundError: No module named typer' >&2; exit 1", 4, "No module named typer"),
        (f'printf "{FOUND}"; exit 1', 4, "ended with 1"),
        *((f"echo why; exit {code}", 4, f"ended with {code}; its last words: why") for code in (2, 3, 4, 5, 130)),
        ("exit 6", 4, "nothing"),
        ("printf 'flash-doctor: error: it failed\\n  - MemoryError\\n  Next: x\\n'; exit 6", 4, "node: MemoryError"),
        ("exec /nowhere/flash-doctor", 4, "ended with 127"),
        ("exec /etc", 4, "ended with 126"),
        *((f"kill -{name} $$", 4, "could not look") for name in ("SEGV", "ABRT", "BUS", "KILL", "TERM", "HUP", "PIPE")),
        ("printf 'x\\033[31m\\a \"; rm\\n'; exit 9", 4, "x [31m  ; rm"),
        ("yes | head -c 3000000; exit 9", 4, "ended with 9; its last words: y"),
        ("head -c 100000 /dev/zero; exit 9", 4, "could not look"),
    ],
)
def test_every_end_of_the_doctor_has_a_meaning(node: Node, doctor: str, code: int, logged: str) -> None:
    file = node.configured(FLASH_DOCTOR=str(node.doctor(doctor)), FLASH_DOCTOR_PROLOG_UNCHECKED="4")
    done = node.prolog(file)
    assert done.code == code
    assert logged in done.log
    assert done.stderr == (f"flash-doctor: {done.log}" if done.log else "")
    assert bool(done.log) is (code != 0)
    assert len(done.log.splitlines()) <= 1


@pytest.mark.parametrize("doctor", ["sleep 100", "trap '' TERM; while :; do sleep 1; done", "kill -STOP $$"])
def test_a_doctor_that_does_not_end_is_not_waited_for(node: Node, doctor: str) -> None:
    file = node.configured(FLASH_DOCTOR=str(node.doctor(doctor)), FLASH_DOCTOR_TIME_LIMIT="1")
    begun = time.monotonic()
    done = node.prolog(file)
    assert time.monotonic() - begun < 30
    assert (done.code, "did not end within 1 seconds" in done.log) == (0, True)


def test_a_process_that_keeps_the_output_open_is_not_waited_for(node: Node) -> None:
    """As one that hangs in the kernel does, which nobody can end."""
    text = f"setsid sh -c 'echo $$ >{node.folder}/left; exec sleep 300' & {HEALTHY}"
    file = node.configured(FLASH_DOCTOR=str(node.doctor(text)), FLASH_DOCTOR_TIME_LIMIT="1")
    try:
        assert node.prolog(file).code == 0
    finally:
        os.kill(int((node.folder / "left").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_prolog_that_is_ended_says_that_it_did_not_look(node: Node, number: signal.Signals) -> None:
    doctor = node.doctor(f": >{node.folder}/asked; sleep 100")
    file = node.configured(FLASH_DOCTOR=str(doctor), FLASH_DOCTOR_PROLOG_UNCHECKED="7")
    prolog = subprocess.Popen([PROLOG, file], env={}, stderr=subprocess.PIPE, text=True)
    while not (node.folder / "asked").exists():
        time.sleep(0.02)
    prolog.send_signal(number)
    _, errors = prolog.communicate(timeout=30)
    assert (prolog.returncode, "before it had looked" in errors) == (7, True)


MISSING = {
    "nothing there": lambda node: node.folder / "nothing",
    "a folder": lambda node: node.folder,
    "not executable": lambda node: _with_mode(node, 0o644),
    "writable by the group": lambda node: _with_mode(node, 0o775),
    "writable by all": lambda node: _with_mode(node, 0o757),
    "a link to one that all may write to": lambda node: _link_to(node, _with_mode(node, 0o777)),
}


def _with_mode(node: Node, mode: int) -> Path:
    file = node.doctor(f": >{node.folder}/ran; {HEALTHY}")
    file.chmod(mode)
    return file


def _link_to(node: Node, file: Path) -> Path:
    link = node.folder / "link"
    link.symlink_to(file)
    return link


@pytest.mark.parametrize("doctor", MISSING.values(), ids=MISSING)
def test_a_doctor_that_is_missing_or_not_roots_alone_is_not_run(node: Node, doctor: Callable[[Node], Path]) -> None:
    file = node.configured(FLASH_DOCTOR=str(doctor(node)), FLASH_DOCTOR_PROLOG_UNCHECKED="5")
    done = node.prolog(file)
    assert done.code == 5
    assert "could not look" in done.log
    assert not (node.folder / "ran").exists()


@pytest.mark.parametrize(
    "line",
    [
        "FLASH_DOCTOR=bin/flash-doctor",
        "FLASH_DOCTOR_PROLOG_UNCHECKED=yes",
        "FLASH_DOCTOR_PROLOG_UNCHECKED=256",
        "FLASH_DOCTOR_PROLOG_UNCHECKED=-1",
        "FLASH_DOCTOR_PROLOG_UNCHECKED=",
        "FLASH_DOCTOR_PROLOG_UNCHECKED=1+1",
        "FLASH_DOCTOR_PROLOG_UNCHECKED=a[$(touch ran)]",
        "FLASH_DOCTOR_TIME_LIMIT=0",
        "FLASH_DOCTOR_TIME_LIMIT=1h",
        "FLASH_DOCTOR_TIME_LIMIT=9999",
        "PATH=bin:/usr/bin",
        "PATH=/usr/bin:",
        "PATH=/usr/bin:.",
        "LD_PRELOAD=/tmp/x.so",
        "families=host",
        " FLASH_DOCTOR_TIME_LIMIT=5",
        "touch ran",
        "$(touch ran)",
        "FLASH_DOCTOR_TIME_LIMIT",
    ],
)
def test_a_setting_that_is_not_one_is_told_and_nothing_is_run(node: Node, line: str) -> None:
    file = node.configured(FLASH_DOCTOR=str(node.doctor(f": >{node.folder}/ran; {SICK}")))
    file.write_text(f"{file.read_text()}{line}")
    done = node.prolog(file, cwd=str(node.folder))
    number = len(file.read_text().splitlines())
    assert done.code == 0
    assert f"prolog.conf, line {number}: " in done.log
    assert not (node.folder / "ran").exists()


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_settings_that_others_may_write_to_are_not_read(node: Node, mode: int) -> None:
    file = node.configured(FLASH_DOCTOR=str(node.doctor(SICK)), FLASH_DOCTOR_PROLOG_UNCHECKED="9")
    file.chmod(mode)
    done = node.prolog(file)
    assert (done.code, done.log) == (0, "")  # not even which logger is to be used
    assert "must be a file of root's that nobody else may write to" in done.stderr


@pytest.mark.parametrize("name", ["nothing", "prolog.conf"])
def test_a_named_file_of_settings_that_cannot_be_found_is_told(node: Node, name: str) -> None:
    """The second one is there, in a folder that the prolog is no longer in."""
    node.configured(FLASH_DOCTOR=str(node.doctor(HEALTHY)))
    done = node.prolog(Path(name), cwd=str(node.folder))
    assert (done.code, f"{name} cannot be read" in done.stderr) == (0, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="files of another user are made by root")
def test_what_another_user_owns_is_not_believed(node: Node) -> None:
    doctor = node.doctor(f": >{node.folder}/ran; {SICK}")
    file = node.configured(FLASH_DOCTOR=str(doctor), FLASH_DOCTOR_PROLOG_UNCHECKED="9")
    os.chown(doctor, 65534, 65534)
    assert (node.prolog(file).code, (node.folder / "ran").exists()) == (9, False)
    os.chown(doctor, 0, 0)
    os.chown(file, 65534, 65534)
    assert (node.prolog(file).code, (node.folder / "ran").exists()) == (0, False)


USERS_VARIABLES = {
    "HOME": "/home/ada",
    "TMPDIR": "/scratch/ada",
    "XDG_CACHE_HOME": "/scratch/ada",
    "PYTHONPATH": "{folder}/evil",
    "PYTHONSTARTUP": "{folder}/evil/sitecustomize.py",
    "PYTHONHOME": "/nowhere",
    "VIRTUAL_ENV": "/home/ada/venv",
    "CUDA_VISIBLE_DEVICES": "-1",
    "LD_LIBRARY_PATH": "/usr/local/cuda/lib64/stubs",
    "FLASH_DOCTOR_FACTS": "/home/ada/facts",
    "FLASH_DOCTOR": "/home/ada/doctor",
    "FLASH_DOCTOR_PROLOG_UNCHECKED": "1",
    "SLURM_JOB_NAME": "$(touch ran)",
    "SLURM_JOB_COMMENT": "'; touch ran; '",
    "SPANK_X": "`touch ran`",
    "BASH_ENV": "{folder}/evil/touch",
    "ENV": "{folder}/evil/touch",
    "SHELLOPTS": "xtrace",
    "PS4": "$(touch ran)",
    "POSIXLY_CORRECT": "1",
    "BASH_FUNC_timeout%%": "() {{ touch ran; }}",
    "BASH_FUNC_printf%%": "() {{ touch ran; }}",
    "IFS": "/",
    "a[$(touch ran)]": "1",
    "result": "sick",
    "words": "forged",
    "doctor": "/bin/false",
    "fault": "forged",
    "unchecked": "1",
    "logged": "yes",
    "families": "host",
    "root": "/home/ada",
    "early": "forged",
    "script": "{folder}/evil/script",
    "BASH_SOURCE": "{folder}/evil/script",
    "BASH_ARGV0": "{folder}/evil/script",
}


def test_no_variable_of_the_job_reaches_the_doctor(node: Node) -> None:
    evil = node.folder / "evil"
    (evil / "lib").mkdir(parents=True)
    for name in ("touch", "sitecustomize.py", "lib/slurm.sh"):
        (evil / name).write_text("open('ran', 'w')" if name.endswith("py") else "touch ran\n")
    doctor = node.doctor(
        f'pwd >{node.folder}/asked; printf "%s\\n" "$@" >>{node.folder}/asked; env -0 >{node.folder}/env; {HEALTHY}'
    )
    environ = {name: value.format(folder=node.folder) for name, value in USERS_VARIABLES.items()}
    done = node.prolog(node.configured(FLASH_DOCTOR=str(doctor)), environ, cwd=str(node.folder))
    assert (done.code, done.stderr) == (0, "")
    assert (node.folder / "asked").read_text().split() == [
        *("/", "check", "--host-only", "--only", "driver,gpu", "--strict")
    ]
    got = dict(entry.split("=", 1) for entry in (node.folder / "env").read_text().split("\0") if entry)
    for shells_own in ("PWD", "OLDPWD", "SHLVL", "_"):
        got.pop(shells_own, None)
    assert got.pop("PATH").startswith(f"{node.folder}/bin:/usr/bin")
    assert got == {
        "HOME": "/dev/null/home",
        "LC_ALL": "C",
        "COLUMNS": "300",
        "FLASH_DOCTOR_CACHE": "/dev/null/cache",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
    }
    assert not list(node.folder.rglob("ran"))


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_driver(tmp_path_factory.mktemp("driver"))


needs_stand_in = pytest.mark.skipif(
    Path("/proc/driver/nvidia").exists(), reason="the real driver's kernel module would contradict the compiled library"
)


@needs_stand_in
@pytest.mark.parametrize(
    ("machine", "code", "logged"),
    [
        ({"FAKE_NVML_MACHINE": "h200"}, 0, ""),
        ({"FAKE_NVML_INIT": "18"}, 1, "D202"),
        ({"FAKE_NVML_MACHINE": "hgx"}, 1, "D254"),
        ({"FAKE_NVML_MACHINE": "hgx-ready", "FAKE_NVML_HANDLE": "15"}, 1, "D203"),
        ({"FAKE_NVML_DEVICE": "16"}, 1, "D203"),
        ({"FAKE_NVML_INIT": "20"}, 4, "NVML_ERROR_MEMORY"),
        ({"FAKE_NVML_CRASH": "nvmlInitWithFlags"}, 4, "signal 11"),
    ],
)
def test_the_doctor_itself_on_a_driver(
    node: Node, driver: Path, machine: dict[str, str], code: int, logged: str
) -> None:
    doctor = real_doctor(node, {"LD_LIBRARY_PATH": str(driver), **machine})
    done = node.prolog(node.configured(FLASH_DOCTOR=str(doctor), FLASH_DOCTOR_PROLOG_UNCHECKED="4"))
    assert done.code == code, done
    assert logged in done.log
    assert bool(logged) is bool(done.log)


def fill(folder: Path) -> None:
    with (folder / "full").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert not shutil.disk_usage(folder).free


def exhaust_names(folder: Path) -> None:
    with suppress(OSError):
        for number in range(1_000):
            (folder / str(number)).touch()
    assert not os.statvfs(folder).f_favail


@needs_stand_in
@pytest.mark.parametrize(("option", "spend"), [("size=400k", fill), ("nr_inodes=64", exhaust_names)])
def test_a_disk_that_a_user_filled_drains_no_node(
    node: Node, driver: Path, option: str, spend: Callable[[Path], None]
) -> None:
    """Everything of root's that could lie on a disk lies on one that is full: cache, home, temporary folder."""
    full = node.folder / "full"
    full.mkdir()
    with mounted(full, "-t", "tmpfs", "-o", option, "tmpfs"):
        spend(full)
        places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "FLASH_DOCTOR_CACHE"), str(full))
        doctor = real_doctor(node, {"LD_LIBRARY_PATH": str(driver)})
        if spend is fill:  # as the prolog was before
            whole = subprocess.run([doctor, "check", "--host-only"], env=places, capture_output=True, text=True)
            assert (whole.returncode, "H101" in whole.stdout) == (1, True)
        done = node.prolog(node.configured(FLASH_DOCTOR=str(doctor)), places, cwd=str(full))
        assert (done.code, done.stderr) == (0, "")
        assert node.prolog(node.configured(FLASH_DOCTOR=str(real_doctor(node, places))), places).code == 0


@needs_stand_in
def test_a_doctor_on_a_full_disk_still_looks(node: Node, driver: Path) -> None:
    """Python cannot write what it compiled; the folder it was called in was deleted meanwhile."""
    full = node.folder / "full"
    full.mkdir()
    with mounted(full, "-t", "tmpfs", "-o", "size=64m", "tmpfs"):
        without = shutil.ignore_patterns("__pycache__", "wheels")
        shutil.copytree(ROOT / "src" / "flash_doctor", full / "src" / "flash_doctor", ignore=without)
        shutil.copytree(ROOT / "wheel_matrix", full / "wheel_matrix", ignore=without)
        fill(full)
        for machine, code in ({"FAKE_NVML_MACHINE": "h200"}, 0), ({"FAKE_NVML_INIT": "18"}, 1):
            doctor = real_doctor(node, {"LD_LIBRARY_PATH": str(driver), **machine}, full / "src")
            done = node.prolog(node.configured(FLASH_DOCTOR=str(doctor)), cwd=str(full))
            assert done.code == code, done
        assert not [file for file in full.rglob("*.pyc") if file.stat().st_size]


def test_a_current_folder_that_is_gone_does_not_matter(node: Node) -> None:
    gone = node.folder / "gone"
    gone.mkdir()
    file = node.configured(FLASH_DOCTOR=str(node.doctor(HEALTHY)))
    line = f"cd {gone} && rmdir {gone} && exec {PROLOG} {file}"
    done = subprocess.run(["/bin/sh", "-c", line], env={"PATH": "/bin:/usr/bin"}, capture_output=True, text=True)
    assert (done.returncode, node.log) == (0, "")


@pytest.mark.parametrize("stream", ["closed", "full", "a pipe that nobody reads"])
def test_a_stream_that_takes_nothing_does_not_change_the_answer(node: Node, stream: str) -> None:
    redirect = {"closed": "2>&- >&- <&-", "full": "2>/dev/full >/dev/full", "a pipe that nobody reads": "2>&1 | :"}
    for doctor, code in ((HEALTHY, 0), (SICK, 1), (BLIND, 0)):
        file = node.configured(FLASH_DOCTOR=str(node.doctor(doctor)))
        line = f"set -o pipefail; {PROLOG} {file} {redirect[stream]}"
        done = subprocess.run(["/bin/bash", "-c", line], env={}, capture_output=True, timeout=60)
        assert done.returncode == code
        assert ("D203" in node.log) is (doctor != HEALTHY)


def test_a_syslog_that_takes_nothing_holds_no_node_up(node: Node) -> None:
    file = node.configured(FLASH_DOCTOR=str(node.doctor(SICK)))
    node.script("logger", "exec sleep 300")
    begun = time.monotonic()
    assert node.prolog(file).code == 1
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="another user is become by root")
@pytest.mark.parametrize("script", ["slurm-prolog", "slurm-health-check"])
def test_a_full_process_table_is_not_the_drivers_fault(script: str) -> None:
    """Nothing can be forked at all: not the doctor, not the logger."""
    shared = Path("/tmp") / f"{script}-{os.getpid()}"  # pytest's own folder is closed to others
    shutil.copytree(ROOT / "scripts", shared / "scripts")
    try:
        for file in (shared, *shared.rglob("*")):
            os.chown(file, 54321, 54321)
        limited = f"ulimit -u 1; exec {shared}/scripts/{script}"
        argv = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "/bin/bash", "-c", limited]
        named_as_ours = {"early": "forged", "logged": "yes", "result": "sick", "unchecked": "1"}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=named_as_ours)
    finally:
        shutil.rmtree(shared)
    assert done.returncode == 0
    assert "was ended before it had looked at this node" in done.stderr


@pytest.mark.parametrize(
    ("doctor", "reason", "told"),
    [
        (SICK, "", "update NodeName=n1 State=DRAIN Reason=flash-doctor: D203 driver: its gone"),
        (SICK, "flash-doctor: D201 old", ""),
        (SICK, "maintenance", ""),
        (HEALTHY, "flash-doctor: D201 old", "update NodeName=n1 State=RESUME"),
        (HEALTHY, "maintenance", ""),
        (HEALTHY, "Prolog error", ""),
        (HEALTHY, "", ""),
        (BLIND, "", ""),
        (BLIND, "flash-doctor: D201 old", ""),
        ("exit 1", "", ""),
        ("exit 0", "flash-doctor: D201 old", ""),
        ("echo Traceback; exit 1", "", ""),
        ("sleep 100", "", ""),
    ],
)
def test_the_health_check_drains_and_gives_back_its_own(node: Node, doctor: str, reason: str, told: str) -> None:
    state = f"NodeName=n1 State=IDLE{f' Reason={reason} [root@2026-11-30T12:00:00]' if reason else ''}"
    node.script("scontrol", f'case "$*" in *show*) echo "{state}" ;; *) echo "$*" >>{node.folder}/told ;; esac')
    file = node.configured(FLASH_DOCTOR=str(node.doctor(doctor)), FLASH_DOCTOR_TIME_LIMIT="2")
    environ = {"PATH": "", "SLURMD_NODENAME": "n1", "HOME": "/home/ada"}
    done = subprocess.run([HEALTH_CHECK, file], env=environ, capture_output=True, text=True, timeout=60)
    said = (node.folder / "told").read_text().strip() if (node.folder / "told").exists() else ""
    assert (done.returncode, said) == (0, told)
    assert ("could not look at n1" in node.log) is (doctor not in {SICK, HEALTHY})


def test_the_health_check_says_when_slurm_does_not_answer(node: Node) -> None:
    node.script("scontrol", "exit 1")
    file = node.configured(FLASH_DOCTOR=str(node.doctor(SICK)))
    subprocess.run([HEALTH_CHECK, file], env={"SLURMD_NODENAME": "n1"}, capture_output=True, timeout=60)
    assert "cannot tell Slurm of n1" in node.log
