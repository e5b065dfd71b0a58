"""Where pip and uv would fetch from, and whose `doctor` is on PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flash_doctor.model import Absent, IndexSetting, OtherDoctor, Unknown
from flash_doctor.probe.indexes import ConfigPlaces, read_indexes
from flash_doctor.probe.shadows import read_other_doctor
from flash_doctor.system.redact import secrets
from sites import install, site_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def places(tmp_path: Path) -> ConfigPlaces:
    folder = tmp_path / "project" / "deep"
    folder.mkdir(parents=True)
    return ConfigPlaces({"HOME": str(tmp_path / "home")}, tmp_path / "venv", folder, tmp_path / "root")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(places: ConfigPlaces, **environ: str) -> list[tuple[str, str]]:
    settings = read_indexes(ConfigPlaces({**places.environ, **environ}, places.prefix, places.folder, places.root))
    assert isinstance(settings, tuple), settings
    assert all(isinstance(setting, IndexSetting) for setting in settings)
    return [(setting.url, setting.origin) for setting in settings]


def test_nothing_configured(places: ConfigPlaces) -> None:
    assert isinstance(read_indexes(places), Absent)


def test_variables(places: ConfigPlaces) -> None:
    assert found(
        places,
        PIP_EXTRA_INDEX_URL="https://a.example/simple https://u:p@b.example/simple",
        UV_INDEX="pytorch=https://c.example/whl/cu128",
        UV_FIND_LINKS="/wheels",
    ) == [
        ("https://a.example/simple", "PIP_EXTRA_INDEX_URL"),
        ("https://***@b.example/simple", "PIP_EXTRA_INDEX_URL"),
        ("https://c.example/whl/cu128", "UV_INDEX"),
        ("/wheels", "UV_FIND_LINKS"),
    ]


def test_pips_files_from_the_machines_to_the_environments(places: ConfigPlaces, tmp_path: Path) -> None:
    write(tmp_path / "root/etc/pip.conf", "[global]\nindex-url = https://one.example/simple\n")
    user = write(tmp_path / "home/.config/pip/pip.conf", "[install]\nfind_links =\n  /a\n  /b\n")
    write(tmp_path / "venv/pip.conf", "[global]\nextra-index-url = https://two.example/simple\ntimeout = 5\n")
    chosen = write(tmp_path / "chosen.conf", "[global]\nextra-index-url = https://three.example\n")
    assert [url for url, _ in found(places, PIP_CONFIG_FILE=str(chosen))] == [
        "https://one.example/simple",
        "/a",
        "/b",
        "https://two.example/simple",
        "https://three.example",
    ]
    assert ("/a", f"{user} [install] find_links") in found(places)


def test_pip_itself_sees_the_same(places: ConfigPlaces, tmp_path: Path) -> None:
    """The real pip is asked what it reads from such files."""
    write(tmp_path / "home/.config/pip/pip.conf", "[global]\nextra-index-url = https://two.example/simple\n")
    environ = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], env=environ, capture_output=True, text=True, check=True
    )
    assert "https://two.example/simple" in listed.stdout
    assert [url for url, _ in found(places)] == ["https://two.example/simple"]


def test_uvs_files(places: ConfigPlaces, tmp_path: Path) -> None:
    write(
        tmp_path / "home/.config/uv/uv.toml", 'extra-index-url = ["https://one.example"]\n[pip]\nfind-links = ["/x"]\n'
    )
    project = write(
        tmp_path / "project/pyproject.toml",
        '[tool.uv]\n[[tool.uv.index]]\nname = "w"\nurl = "https://me:pw@two.example/simple"\n',
    )
    assert [url for url, _ in found(places)] == ["https://one.example", "/x", "https://***@two.example/simple"]
    assert found(places)[-1][1] == str(project)


@pytest.mark.parametrize(("name", "text"), [("venv/pip.conf", "no section\n"), ("project/uv.toml", "a = [\n")])
def test_a_broken_file_is_named(places: ConfigPlaces, tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / name, text)
    settings = read_indexes(places)
    assert isinstance(settings, Unknown)
    assert str(path) in settings.unknown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/simple", "https://example.org/simple"),
        ("https://token@example.org/simple", "https://***@example.org/simple"),
        ("git+ssh://git@example.org/a.git@main", "git+ssh://git@example.org/a.git@main"),
        ("https://example.org/x?token=abc&y=1", "https://example.org/x?token=***&y=***"),
        ("/home/me@work/wheels", "/home/me@work/wheels"),
    ],
)
def test_credentials_are_taken_out(url: str, shown: str) -> None:
    assert secrets(url) == shown


def script(venv: Path, module: str) -> Path:
    path = write(venv / "bin" / "doctor", f"#!{venv}/bin/python\nfrom {module} import main\nmain()\n")
    path.chmod(0o755)
    return path


def test_a_doctor_of_another_package_is_named_with_its_owner(venv: Path) -> None:
    path = script(venv, "env_doctor.cli")
    environ = {"PATH": str(venv / "bin")}
    other = read_other_doctor(environ)
    assert isinstance(other, OtherDoctor)
    assert isinstance(other.owner, Unknown)
    entry_points = "[console_scripts]\nenv-doctor = env_doctor.cli:main\ndoctor = env_doctor.cli:main\n"
    install(site_of(venv), "flash-doctor", "0.1", info={"entry_points.txt": "[console_scripts]\ndoctor = a:b\n"})
    install(site_of(venv), "env-doctor", "1.0", info={"entry_points.txt": entry_points})
    assert read_other_doctor(environ) == OtherDoctor(path=path, owner="env-doctor")


def test_our_own_doctor_and_none_are_no_other(venv: Path) -> None:
    environ = {"PATH": str(venv / "bin")}
    assert isinstance(read_other_doctor(environ), Absent)
    script(venv, "flash_doctor.__main__")
    assert isinstance(read_other_doctor(environ), Absent)
