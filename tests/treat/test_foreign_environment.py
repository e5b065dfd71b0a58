"""Root and another user's environment: his code never runs as root, and what comes in is his."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clinic import Clinic, install_step, write_plan
from flash_doctor.errors import ForeignTarget
from flash_doctor.system import foreign
from users import SOURCE, STRANGER, as_root, meeting_place, python_of, run_as

if TYPE_CHECKING:
    from collections.abc import Iterator

# every way of starting that Python signs with the user that it ran as
_SIGNS = "import os; open({folder!r} + '/%d' % os.geteuid(), 'a').close()\n"


@dataclass
class Lab:
    """A place that all can enter: root's doctor, and a stranger's environment whose start-up files sign."""

    place: Path

    @cached_property
    def clinic(self) -> Clinic:
        made = Clinic(self.place / "clinic", python=python_of(STRANGER))
        made.folder.mkdir()
        return made

    @cached_property
    def doctor(self) -> Path:
        """An interpreter with the doctor, which every user can read and run."""
        folder = self.place / "doctor"
        subprocess.run([python_of(STRANGER), "-m", "venv", "--without-pip", str(folder)], check=True)
        packages = [path for path in sys.path if path.endswith("-packages")]
        (next(folder.glob("lib/python3*/site-packages")) / "doctor.pth").write_text("\n".join([str(SOURCE), *packages]))
        return folder / "bin" / "python"

    @property
    def signed(self) -> Path:
        return self.place / "signed"

    def give(self) -> None:
        """The environment goes to the stranger, with start-up files that sign."""
        assert self.doctor.exists()
        self.signed.mkdir(exist_ok=True)
        self.signed.chmod(0o1777)
        code = _SIGNS.format(folder=str(self.signed))
        (self.clinic.site / "sitecustomize.py").write_text(code)
        (self.clinic.site / "start.pth").write_text(code)
        for path in (self.clinic.venv, *self.clinic.venv.rglob("*")):
            os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
        self._let_in(self.clinic.folder)

    def _let_in(self, folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        own = {"FLASH_DOCTOR_CACHE": str(self.place / "roots-cache"), "SECRET_TOKEN": "s3cr3t", **environ}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        return subprocess.run(
            [str(self.doctor), "-m", "flash_doctor", *arguments], env={**kept, **own}, capture_output=True, text=True,
            cwd=self.place, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def who_ran(self) -> set[str]:
        return {path.name for path in self.signed.iterdir()}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with meeting_place() as place:
        yield Lab(place)


@as_root
@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("check", "--json"),
        ("verify", "--import-only"),
        ("rollback",),
        ("rollback", "--list"),
        ("plan", "--offline"),
        ("fix", "--yes", "--offline"),
        ("fix", "--dry-run", "--offline"),
        ("preflight", "train.yaml"),
        ("explain", "log.txt"),
    ],
    ids=" ".join,
)
def test_another_users_code_runs_as_that_user_only(lab: Lab, command: tuple[str, ...]) -> None:
    lab.clinic.mismatched("2.8.3")
    lab.give()
    (lab.place / "train.yaml").write_text("base_model: ./model\ndatasets: []\noutput_dir: ./out\n")
    (lab.place / "log.txt").write_text("ImportError: libc10.so: cannot open shared object file\n")
    done = lab.run(*command, "--python", str(lab.clinic.venv))
    assert "itself failed" not in done.stderr, done.stderr
    assert lab.who_ran() == {str(STRANGER)}, done.stderr
    assert done.stderr.count(f"belongs to uid {STRANGER}") == 1


@as_root
def test_a_doctor_that_the_owner_cannot_read_refuses(lab: Lab) -> None:
    lab.give()
    (lab.place / "doctor").chmod(0o700)
    for command in (("check",), ("fix", "--yes"), ("rollback",), ("verify",)):
        done = lab.run(*command, "--python", str(lab.clinic.venv), "--json")
        document = json.loads(done.stdout)
        assert (done.returncode, document["exit_code"]) == (2, 2)
        assert "root does not run another user's code" in document["error"]
        assert f"sudo -u '#{STRANGER}'" in document["advice"]
    assert lab.who_ran() == set()


@as_root
def test_a_fix_leaves_files_of_the_owner_and_nothing_of_roots(lab: Lab) -> None:
    lab.clinic.mismatched("2.7.0")
    wheel, einops = lab.clinic.flash("2.8.3"), lab.clinic.einops()
    steps = install_step("flash-attn", "2.8.3", wheel), install_step("einops", "0.8.1", einops)
    plan = write_plan(lab.clinic, *steps)
    (lab.clinic.site / "flash_attn" / "__init__.py").chmod(0o640)
    lab.give()
    (lab.clinic.site / "flash_attn" / "__init__.py").chmod(0o640)
    before = os.umask(0o077)
    try:
        done = lab.run("fix", "--plan", str(plan), "--yes", "--import-only", "--python", str(lab.clinic.venv))
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.lstat().st_uid for path in lab.clinic.venv.rglob("*")} == {STRANGER}
    assert (lab.clinic.site / ".flash-doctor").is_dir()
    names = ("flash_attn/__init__.py", "einops/__init__.py", "einops")
    modes = {name: stat.S_IMODE((lab.clinic.site / name).stat().st_mode) for name in names}
    assert modes == {"flash_attn/__init__.py": 0o640, "einops/__init__.py": 0o644, "einops": 0o755}
    assert not (lab.place / "roots-cache").exists(), "root's cache is not used for another user"
    assert lab.who_ran() == {str(STRANGER)}
    undone = lab.run("rollback", "--python", str(lab.clinic.venv))
    assert undone.returncode == 0, undone.stderr
    assert (lab.clinic.site / "flash_attn-2.7.0.dist-info").is_dir()
    assert {path.lstat().st_uid for path in lab.clinic.venv.rglob("*")} == {STRANGER}


@as_root
def test_nothing_of_roots_environment_reaches_the_owner(lab: Lab) -> None:
    lab.give()
    code = f"import json, os; json.dump(dict(os.environ), open({str(lab.signed / 'variables')!r}, 'w'))\n"
    (lab.clinic.site / "told.pth").write_text(code)
    proxies = {"https_proxy": "https://ada:pw@proxy", "http_proxy": "http://proxy"}
    lab.run("check", "--python", str(lab.clinic.venv), HOME="/root", PYTHONPATH="/roots", **proxies)
    seen = json.loads((lab.signed / "variables").read_text())
    assert not {"SECRET_TOKEN", "https_proxy", "PYTHONPATH", "FLASH_DOCTOR_CACHE"} & seen.keys()
    assert (seen["HOME"], seen["http_proxy"]) == ("/nonexistent", "http://proxy")


@as_root
def test_the_owner_has_no_terminal_of_roots_and_none_of_his_groups(lab: Lab) -> None:
    lab.give()
    told = "[os.getgroups(), os.getgid(), os.getsid(0) == os.getpgrp()]"
    code = f"import json, os; json.dump({told}, open({str(lab.signed / 'told')!r}, 'w'))\n"
    (lab.clinic.site / "told.pth").write_text(code)
    lab.run("check", "--python", str(lab.clinic.venv))
    assert json.loads((lab.signed / "told").read_text()) == [[], STRANGER, True]


@as_root
def test_exit_codes_and_output_are_those_of_the_command(lab: Lab) -> None:
    lab.give()
    done = lab.run("check", "--json", "--python", "clinic/venv")
    document = json.loads(done.stdout)
    assert (done.returncode, document["schema"]) == (document["exit_code"], "flash-doctor/report/1")
    assert document["target"]["python"] == str(lab.clinic.venv / "bin" / "python")


@as_root
def test_a_colleagues_environment_that_lets_us_write_is_told_and_treated(lab: Lab) -> None:
    """A lab's: it belongs to one of them, and its group may write it."""
    wheel, einops = lab.clinic.flash("2.8.3"), lab.clinic.einops()
    plan = write_plan(lab.clinic, install_step("flash-attn", "2.8.3", wheel), install_step("einops", "0.8.1", einops))
    lab.give()
    for path in (lab.clinic.venv, *lab.clinic.venv.rglob("*")):
        os.chown(path, STRANGER + 1, STRANGER, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o060 | (0o2010 if path.is_dir() else 0))
    words = ["fix", "--plan", str(plan), "--yes", "--import-only", "--python", str(lab.clinic.venv)]
    done = run_as(STRANGER, [str(lab.doctor), "-m", "flash_doctor", *words], environ={})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count(f"belongs to uid {STRANGER + 1}") == 1
    new = lab.clinic.site / "flash_attn" / "__init__.py"
    assert (new.stat().st_uid, new.stat().st_gid, stat.S_IMODE(new.stat().st_mode)) == (STRANGER, STRANGER, 0o664)
    assert lab.who_ran() == {str(STRANGER)}


# -- who the owner is


@as_root
@pytest.mark.parametrize("part", ["bin/python", "bin", ".", "pyvenv.cfg", "SITE", "LIB"])
def test_one_foreign_part_is_enough(tmp_path: Path, part: str) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    foreign.demand_ours(venv / "bin" / "python")
    site = next(venv.glob("lib/python3*/site-packages"))
    path = {"SITE": site, "LIB": site.parent}.get(part, venv / part)
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(ForeignTarget) as caught:
        foreign.demand_ours(venv / "bin" / "python")
    assert caught.value.uid == STRANGER
    assert str(path) in caught.value.evidence[0]


@as_root
@pytest.mark.parametrize(
    "name", ["SITE/evil.pth", "SITE/sitecustomize.py", "SITE/usercustomize/__init__.py", "LIB/enum.py", "ADDED"]
)
def test_a_start_file_of_another_user_is_enough(lab: Lab, name: str) -> None:
    """In a folder of root's that others may write into; ADDED: in a folder that a .pth file of root's names."""
    venv = lab.place / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python3*/site-packages"))
    site.chmod(0o1777)
    project = lab.place / "project"
    project.mkdir()
    (site / "project.pth").write_text(f"# a comment\n{project}\n")
    path = project / "sitecustomize.py" if name == "ADDED" else venv / name
    path = {"SITE": site, "LIB": site.parent}.get(name.partition("/")[0], path.parent) / path.name
    if "/__init__" in name:
        path = site / "usercustomize"
        path.mkdir()
    lab.signed.mkdir()
    code = _SIGNS.format(folder=str(lab.signed))
    (path / "__init__.py" if path.is_dir() else path).write_text(code)
    os.chown(path, STRANGER, STRANGER)
    lab.run("check", "--python", str(venv))
    assert "0" not in lab.who_ran()
    with pytest.raises(ForeignTarget) as caught:
        foreign.demand_ours(venv / "bin" / "python")
    assert (caught.value.uid, str(path) in caught.value.evidence[0]) == (STRANGER, True)


@as_root
def test_the_interpreter_behind_it_counts_too(tmp_path: Path) -> None:
    base, venv = tmp_path / "base", tmp_path / "venv"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "python3").write_text("#!/bin/sh\n")
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(base / "bin" / "python3")
    foreign.demand_ours(venv / "bin" / "python")
    os.chown(base / "bin" / "python3", STRANGER, STRANGER)
    with pytest.raises(ForeignTarget):
        foreign.demand_ours(venv / "bin" / "python")


@as_root
def test_a_copied_interpreter_is_asked_for_its_base(tmp_path: Path) -> None:
    base, venv = tmp_path / "base", tmp_path / "venv"
    for folder in (base / "bin", base / "lib" / "python3.12", venv / "bin"):
        folder.mkdir(parents=True)
    shutil.copy("/bin/sh", venv / "bin" / "python")
    (venv / "pyvenv.cfg").write_text(f"include-system-site-packages = false\nhome = {base}/bin\n")
    foreign.demand_ours(venv / "bin" / "python")
    os.chown(base / "lib" / "python3.12", STRANGER, STRANGER)
    with pytest.raises(ForeignTarget):
        foreign.demand_ours(venv / "bin" / "python")


@as_root
def test_of_two_users_nobody_is_chosen(lab: Lab) -> None:
    lab.give()
    os.chown(lab.clinic.site, STRANGER + 1, STRANGER + 1)
    done = lab.run("check", "--python", str(lab.clinic.venv))
    assert done.returncode == 2
    assert f"uid {STRANGER}" in done.stderr
    assert f"uid {STRANGER + 1}" in done.stderr
    assert lab.who_ran() == set()


def test_a_user_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever he runs has his own rights only: a colleague's environment that his group may write is his choice."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    foreign.demand_ours(tmp_path / "nowhere" / "bin" / "python")


def test_what_we_run_from_is_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root in a container whose Python was unpacked with its maker's number."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(foreign, "_owner", lambda _: 1001)
    foreign.demand_ours(Path(sys.executable))
    with pytest.raises(ForeignTarget):
        foreign.demand_ours(Path("/nonexistent/bin/python"))
