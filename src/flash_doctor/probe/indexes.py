"""The package indexes and find-links addresses that pip and uv are configured with, and where."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, IndexSetting, Part, Unknown
from flash_doctor.system.bounds import read_toml
from flash_doctor.system.files import read_regular
from flash_doctor.system.redact import secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.claims import Claimed

_LONGEST_VALUE = 64 << 10  # characters of one setting: shlex takes seconds for a megabyte
_KEYS = ("index-url", "extra-index-url", "find-links")
_VARIABLES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
)


@dataclass(frozen=True, slots=True)
class ConfigPlaces:
    """Where settings are looked for: the environment, the target's prefix, the current folder."""

    environ: Mapping[str, str]
    prefix: Path | None
    folder: Path
    root: Path = Path("/")

    @property
    def config_home(self) -> Path:
        home = Path(self.environ.get("HOME") or Path.home())
        return Path(self.environ.get("XDG_CONFIG_HOME") or home / ".config")


def read_indexes(places: ConfigPlaces) -> Part[tuple[IndexSetting, ...]]:
    """Every configured address, its secrets masked; in the order variables, pip's files, uv's files.

    Returns:
        Absent when nothing is configured; Unknown, naming the file, when a configuration file cannot be read.
    """
    try:
        found = tuple(
            IndexSetting(url=address, origin=origin)
            for address, origin in [*_of_variables(places), *_of_pip(places), *_of_uv(places)]
        )
    except BadInput as error:
        return Unknown(unknown=error.message)
    return found or Absent(absent="neither pip nor uv is configured with an index of its own")


def _of_variables(places: ConfigPlaces) -> Iterator[tuple[str, str]]:
    for name in _VARIABLES:
        # masked before it is taken apart: a password may hold what parts two addresses
        for word in secrets(places.environ.get(name, "")).replace(",", " ").split():
            # UV_INDEX may give `name=address`
            label, equals, address = word.partition("=")
            yield (address if equals and "/" not in label else word), name


def _pip_files(places: ConfigPlaces) -> Iterator[Path]:
    """Pip's configuration files, from the whole machine's to the environment's; later ones win."""
    chosen = places.environ.get("PIP_CONFIG_FILE")
    for folder in (places.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield places.root / folder.lstrip("/") / "pip" / "pip.conf"
    yield places.root / "etc" / "pip.conf"
    if chosen != "/dev/null":
        yield Path(places.environ.get("HOME") or Path.home()) / ".pip" / "pip.conf"
        yield places.config_home / "pip" / "pip.conf"
    if places.prefix:
        yield places.prefix / "pip.conf"
    if chosen and chosen != "/dev/null":
        yield Path(chosen)


def _of_pip(places: ConfigPlaces) -> Iterator[tuple[str, str]]:
    for path in _pip_files(places):
        text = _text(path)
        if text is not None:
            yield from _of_pip_file(text, path)


def _of_pip_file(text: str, path: Path) -> Iterator[tuple[str, str]]:
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        message = f"{path} is no pip configuration file: {str(error).splitlines()[0]}"
        raise BadInput(message) from error
    for section in parser.sections():
        for key, value in parser.items(section):
            if key.replace("_", "-") in _KEYS:
                for address in _words(value, path, key):
                    yield address, f"{path} [{section}] {key}"


def _words(value: str, path: Path, key: str) -> list[str]:
    try:
        if len(value) > _LONGEST_VALUE:
            message = f"it has {len(value)} characters"
            raise ValueError(message)
        return shlex.split(secrets(value), comments=True)
    except ValueError as error:
        message = f"{path} is no pip configuration file: {key}: {error}"
        raise BadInput(message) from error


def _uv_files(places: ConfigPlaces) -> Iterator[Path]:
    if places.environ.get("UV_NO_CONFIG"):
        return
    if chosen := places.environ.get("UV_CONFIG_FILE"):
        yield Path(chosen)
        return
    yield places.root / "etc" / "uv" / "uv.toml"
    yield places.config_home / "uv" / "uv.toml"
    for folder in (places.folder, *places.folder.parents):
        if (folder / "uv.toml").exists():
            yield folder / "uv.toml"
            return
        if (folder / "pyproject.toml").exists():
            yield folder / "pyproject.toml"


def _of_uv(places: ConfigPlaces) -> Iterator[tuple[str, str]]:
    for path in _uv_files(places):
        text = _text(path)
        if text is None or (path.name == "pyproject.toml" and "tool.uv" not in text):
            continue
        settings = _table(text, path)
        if path.name == "pyproject.toml":
            settings = _inner(_inner(settings, "tool"), "uv")
        for table in (settings, _inner(settings, "pip")):
            for address in _addresses(table):
                yield secrets(address), str(path)


def _table(text: str, path: Path) -> dict[str, Any]:
    try:
        return _accept(read_toml(text))
    except ValueError as error:
        message = f"{path} is no valid TOML: {error}"
        raise BadInput(message) from error


def _accept(claim: Claimed[dict[str, Any]]) -> dict[str, Any]:
    """As it is: each member's type is looked at where it is taken out, and addresses are masked."""
    return claim.unproved()


def _inner(table: dict[str, Any], name: str) -> dict[str, Any]:
    inner = table.get(name)
    return inner if isinstance(inner, dict) else {}


def _addresses(table: dict[str, Any]) -> Iterator[str]:
    for key in _KEYS:
        value = table.get(key)
        yield from [value] if isinstance(value, str) else filter(_is_text, value or ())
    for index in table.get("index") or ():
        if isinstance(index, dict) and isinstance(index.get("url"), str):
            yield index["url"]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _text(path: Path) -> str | None:
    """The file's text, None when it is not there."""
    try:
        return read_regular(path).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise BadInput(message) from error
