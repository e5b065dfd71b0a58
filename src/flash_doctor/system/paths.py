"""Folders of this run: where the doctor keeps what it may lose, and where and how it was called."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def cache_folder(environ: Mapping[str, str]) -> Path:
    """FLASH_DOCTOR_CACHE, else flash-doctor in XDG_CACHE_HOME, else in ~/.cache; it need not exist yet."""
    if chosen := environ.get("FLASH_DOCTOR_CACHE"):
        return Path(chosen)
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "flash-doctor"


def data_folder(environ: Mapping[str, str]) -> Path:
    """FLASH_DOCTOR_DATA, else flash-doctor in XDG_DATA_HOME, else in ~/.local/share: what must not be lost."""
    if chosen := environ.get("FLASH_DOCTOR_DATA"):
        return Path(chosen)
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "flash-doctor"


def facts_folder(environ: Mapping[str, str]) -> Path:
    """FLASH_DOCTOR_FACTS, else `wheel_matrix` inside the installed package, else beside `src` in a checkout."""
    if chosen := environ.get("FLASH_DOCTOR_FACTS"):
        return Path(chosen)
    package = Path(__file__).parents[1]
    installed = package / "wheel_matrix"
    return installed if installed.is_dir() else package.parents[1] / "wheel_matrix"


def current_folder() -> Path:
    """Where we were called; a path that holds nothing when that folder was deleted meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(os.devnull)


def program(environ: Mapping[str, str], words: Sequence[str] | None = None) -> tuple[str, ...]:
    """How the user calls us: `doctor`, `.venv/bin/flash-doctor`, `python -m flash_doctor`.

    `words` is the command line of this process. scripts/doctor says that it was called, since `flash-doctor` is then
    not on PATH; who calls our code in another manner is told `flash-doctor`.
    """
    if told := environ.get("FLASH_DOCTOR_PROGRAM"):
        return (told,)
    words = sys.orig_argv if words is None else words
    for at, word in enumerate(words[:8]):
        if words[at : at + 2] == ["-m", "flash_doctor"]:
            return (*words[: at + 2],)
        name = os.path.basename(word)  # noqa: PTH119 a path as it was typed
        if at and name in {"doctor", "flash-doctor"}:
            # the shell looks a bare name up, and gives the path that it found
            return (name,) if find_program(name, environ.get("PATH", os.defpath)) == Path(word) else (word,)
        if at and not word.startswith("-"):
            break
    return ("flash-doctor",)


# what an unset variable means to pip, uv and Python's ssl, and where each list is cut
_ONE_PATH = (
    "PIP_CONFIG_FILE", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_CACHE_DIR", "UV_CONFIG_FILE", "UV_CACHE_DIR", "NETRC",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
_PATHS = {
    "PIP_CONSTRAINT": " ", "PIP_BUILD_CONSTRAINT": " ", "PIP_FIND_LINKS": " ",
    "UV_CONSTRAINT": " ", "UV_BUILD_CONSTRAINT": " ", "UV_OVERRIDE": " ", "UV_FIND_LINKS": ",",
}  # fmt: skip
# they would send uv back to a folder of the user's, with its uv.toml and pyproject.toml
_UV_FOLDERS = ("UV_PROJECT", "UV_WORKING_DIR", "UV_WORKING_DIRECTORY")


def find_program(name: str, path: str | None = None) -> Path | None:
    """The program of that name in `path`, as in PATH (None: ours); a path is itself, when it can be run.

    An entry that is empty or relative means the current folder, or one in it: whoever made that folder would choose
    what runs, so it is passed over.
    """
    if os.sep in name:
        return Path(name) if name.startswith(os.sep) and shutil.which(name) else None
    search = absolute_entries(os.environ.get("PATH", os.defpath) if path is None else path)
    found = shutil.which(name, path=search) if search else None
    return Path(found) if found else None


def absolute_entries(path: str) -> str:
    """The entries of a search path (PATH, PYTHONPATH) that name the same folder from everywhere."""
    return os.pathsep.join(entry for entry in path.split(os.pathsep) if entry.startswith(os.sep))


def isolated(python: Path | None = None) -> tuple[str, str]:
    """An interpreter (None: the doctor's own) for tools that we bring: no variables of the user's, no user site.

    Where the doctor itself was installed into the user site its tools lie there too; -E then leaves out the variables
    alone, and the folder that such a command runs in is an empty one of ours.
    """
    return str(python or sys.executable), "-E" if _in_user_site() else "-I"


def _in_user_site() -> bool:
    import site

    return bool(site.ENABLE_USER_SITE) and Path(site.getusersitepackages()) in Path(__file__).parents


def tool_environment(environ: Mapping[str, str]) -> dict[str, str | None]:
    """What is set (or, with None, taken away) for pip and uv, which run in another folder than the user's.

    Nothing that bends a Python reaches the target's, which pip starts for itself. Files that the user names in
    variables of pip and uv are found as before.
    """
    changes: dict[str, str | None] = {name: None for name in environ if name.startswith("PYTHON")}
    changes |= dict.fromkeys(_UV_FOLDERS)
    changes |= {name: str(current_folder() / environ[name]) for name in _ONE_PATH if environ.get(name)}
    for name, between in _PATHS.items():
        if value := environ.get(name):
            changes[name] = between.join(_absolute(word) for word in value.split(between if between != " " else None))
    changes |= {} if _in_user_site() else {"PYTHONNOUSERSITE": "1"}
    return changes | {"PYTHONDONTWRITEBYTECODE": "1"}


def _absolute(word: str) -> str:
    """A path that is there, from everywhere; anything else (an address, an empty word) as it is."""
    return str(current_folder() / word) if os.path.lexists(word) else word
