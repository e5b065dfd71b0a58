"""A plan as a shell script (POSIX sh): every file is fetched and held to its sha256 before anything is changed.

What has no hash stops the script before it does anything: an open step until it is planned again, a file whose hash
nobody publishes until whoever runs it gives the hash, in a variable. Every value is one quoted word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from flash_doctor.errors import NoPlanFound
from flash_doctor.model.plan import Build, Install, Remove
from flash_doctor.system.claims import is_sha256
from flash_doctor.system.commands import Variable, command, comment
from flash_doctor.system.requirement import valid_name
from flash_doctor.system.url import is_file, named_file, path_of, public, to_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flash_doctor.model import CommandLine
    from flash_doctor.model.plan import Step

    File: TypeAlias = Build | Install

_START = """\
# Unlike `flash-doctor fix` it keeps no copy of what it replaces, and proves nothing.
# PYTHON names the interpreter that it is for: PYTHON=.venv/bin/python sh THIS_FILE

set -eu
umask 022
# no pip.conf, which could send files elsewhere
export PIP_CONFIG_FILE=/dev/null
python=${PYTHON:-python3}
case $python in
/*) ;;
*/*) python=$PWD/$python ;;
esac

stop() {
    printf '%s\\n' "$@" >&2
    exit 1
}
"""
_TOOLS = """\
command -v sha256sum >/dev/null || stop 'sha256sum is not there: no file could be held to its hash.'
"$python" -I -m pip --version >/dev/null || stop "$python has no pip. What needs none: flash-doctor fix"
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# hold FILE SHA256
hold() {
    case $2 in
    *[!0-9a-f]*) stop "$2 is no sha256. Nothing was changed." ;;
    esac
    printf '%s  %s\\n' "$2" "$folder/$1" | sha256sum -c - >/dev/null ||
        stop "$1 is another file than was promised: its sha256 is not $2. Nothing was changed."
}
"""
_FETCH = """\
# fetch FILE ADDRESS PROTOCOL: no other one, and only https behind a redirection
fetch() {
    curl --proto "$3" --proto-redir '=https' --fail --location --globoff --retry 3 --silent --show-error \\
        --output "$folder/$1" "$2" || stop "$1 could not be fetched. Nothing was changed."
}
"""
_INSTALL = """\
# install FILE SHA256 OPTION...: pip takes the file only if it has the hash, and asks nobody
install() {
    printf './%s --hash=sha256:%s\\n' "$1" "$2" >"$folder/wanted.txt"
    shift 2
    (cd "$folder" && "$python" -I -m pip --isolated install --no-deps --no-index --require-hashes \\
        --force-reinstall --requirement wanted.txt "$@")
}
"""
_COMPILE = """\
# compile FILE SHA256 NAME=VALUE...: from a folder of ours, with what the build imports beside it
compile() {
    printf './%s --hash=sha256:%s\\n' "$1" "$2" >"$folder/wanted.txt"
    shift 2
    (cd "$folder" && env PYTHONPATH="$folder/needs" "$@" "$python" -m pip --isolated install --no-deps --no-index \\
        --require-hashes --force-reinstall --no-build-isolation --requirement wanted.txt)
}
"""
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
_OPEN = "has no file yet: the package index chooses it. Plan again where the index answers (without --offline)."


def script_lines(steps: Iterable[Step]) -> Iterator[str]:
    """The body of the script, behind its first comments.

    Raises:
        NoPlanFound: a name, an address or a setting that cannot be written into a script.
    """
    steps = tuple(steps)
    files = [file for step in steps for file in step.files]
    hashes = {id(file): _hash(file, number) for number, file in enumerate(files, 1)}
    yield _START
    if unchosen := [f"{file.name} {_OPEN}" for file in files if not file.url]:
        yield _written(command("stop {}", unchosen))
        return
    yield from _refusals(files, hashes)
    yield _TOOLS
    if not all(is_file(file.url or "") for file in files):
        yield "command -v curl >/dev/null || stop 'curl is not there: nothing can be fetched.'\n"
        yield _FETCH
    if any(isinstance(file, Install) for file in files):
        yield _INSTALL
    if any(isinstance(step, Build) for step in steps):
        yield _COMPILE
    yield "# every file, before anything is changed"
    for file in files:
        yield from _fetched(file, hashes[id(file)])
    for number, step in enumerate(steps, 1):
        yield ""
        yield comment(f"{number}. {step.name}")
        yield from _done(step, hashes)


def _hash(file: File, number: int) -> str | Variable:
    """The promised sha256, else the variable in which whoever runs the script gives it."""
    return file.sha256 if file.sha256 and is_sha256(file.sha256) else Variable(f"SHA256_{number}")


def _refusals(files: Iterable[File], hashes: Mapping[int, str | Variable]) -> Iterator[str]:
    """What stops the script at its beginning: files that nobody vouches for."""
    for file in files:
        promised = hashes[id(file)]
        if isinstance(promised, Variable):
            name = _name(file)
            told = (
                f"Nobody publishes a sha256 of {name}, so it is not installed without your word. Fetch it, "
                f"compare it with a copy that you trust, and give the hash: {promised.name}=HASH sh THIS_FILE"
            )
            yield _written(command("[ -n {} ] || stop {} {}", promised, told, public(file.url or "")))


def _fetched(file: File, promised: str | Variable) -> Iterator[str]:
    url, name = file.url or "", _name(file)
    if is_file(url):
        yield _written(command('cp -- {} "$folder"/{}', path_of(url), name))
    else:
        address = to_open(url)  # plain http to this machine alone
        yield _written(command("fetch {} {} {}", name, address.opened, f"={address.scheme}"))
    yield _written(command("hold {} {}", name, promised))


def _done(step: Step, hashes: Mapping[int, str | Variable]) -> Iterator[str]:
    if isinstance(step, Remove):
        yield _written(command('"$python" -I -m pip --isolated uninstall --yes {}', valid_name(step.name)))
    elif isinstance(step, Build):
        for need in step.needs:
            yield _written(command('install {} {} --target "$folder/needs"', _name(need), hashes[id(need)]))
        settings = [f"{name}={value}" for name, value in step.settings]
        yield _written(command("compile {} {} {}", _name(step), hashes[id(step)], settings))
    else:
        yield _written(command("install {} {}", _name(step), hashes[id(step)]))


def _name(file: File) -> str:
    """The name of the file, which becomes a line of a requirements file as well: one of the specification."""
    name = named_file(file.url or "").name
    parts = parse_wheel_filename if isinstance(file, Install) else parse_sdist_filename
    try:
        distribution = parts(name)[0]
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise _unwritable(str(error)) from error
    if distribution != file.name or not _FILE_NAME.fullmatch(name):
        why = f"{name} is no file of {file.name}"
        raise _unwritable(why)
    return name


def _written(line: CommandLine | None) -> CommandLine:
    if line is None:
        why = "a name, an address or a setting of it holds signs that a terminal does not show"
        raise _unwritable(why)
    return line


def _unwritable(why: str) -> NoPlanFound:
    message = "the plan cannot be written as a script"
    return NoPlanFound(message, evidence=(why,), advice="Let the doctor carry it out: `flash-doctor fix`")
