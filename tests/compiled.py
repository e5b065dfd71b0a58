"""Real ELF files for the tests, compiled on the spot; a child process that says what an import of one really does."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flash_doctor.abi.linker import Linkage

# A module without Python.h: PyModuleDef as words (m_name is the sixth, m_size the eighth).
MODULE = """
extern void *PyModule_Create2(void *, int);
static void *def[16];
void *PyInit_{name}(void) {{ def[5] = "{name}"; def[7] = (void *)-1; return PyModule_Create2(def, 1013); }}
"""
FROM_PATH = """
import importlib.machinery, importlib.util, json, os, sys
def attempt(path):
    name = os.path.basename(path).split(".")[0]
    try:
        spec = importlib.util.spec_from_loader(name, importlib.machinery.ExtensionFileLoader(name, path))
        importlib.util.module_from_spec(spec)
    except ImportError as error:
        return str(error)
    return ""
def forked(path):
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, attempt(path).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read().decode()
    os.wait()
    return answer
"""


def shared(path: Path, source: str = "", *options: str, language: str = "c") -> Path:
    """A shared object; undefined symbols are allowed, as in every Python extension."""
    command = ["gcc", "-shared", "-fPIC", "-O1", "-x", language, "-", "-x", "none", "-o", str(path), *options]
    subprocess.run(command, input=source.encode(), check=True, capture_output=True)
    return path


def references(symbols: Iterable[str], weak: Iterable[str] = ()) -> str:
    """C that refers to symbols by their linker names, from a table, so that each has a relocation."""
    strong = list(symbols)
    lines = [f'extern char s{index}[] __asm__("{name}");' for index, name in enumerate(strong)]
    lines += [f'extern char w{i}[] __asm__("{name}") __attribute__((weak));' for i, name in enumerate(weak)]
    names = [f"s{index}" for index in range(len(strong))] + [f"w{index}" for index, _ in enumerate(weak)]
    return "\n".join([*lines, f"void *table_of_references[] = {{ {', '.join([*names, '0'])} }};"])


def extension(folder: Path, name: str, source: str = "", *options: str) -> Path:
    """A Python module that really imports, when its references are met."""
    folder.mkdir(parents=True, exist_ok=True)
    return shared(folder / f"{name}.so", MODULE.format(name=name) + source, *options)


def versioned(path: Path, soname: str, versions: Mapping[str, Iterable[str]], *options: str) -> Path:
    """A library that defines each symbol in a version, as glibc does."""
    script = path.with_suffix(".map")
    script.write_text("".join(f"{version} {{ global: {'; '.join(names)}; }};\n" for version, names in versions.items()))
    body = "".join(f"int {name}(void) {{ return 1; }}\n" for names in versions.values() for name in names)
    return shared(path, body, f"-Wl,-soname,{soname}", f"-Wl,--version-script={script}", *options)


def needs(folder: Path, *names: str) -> list[str]:
    """Options for DT_NEEDED entries, by stand-ins that are not there when the extension is loaded."""
    stubs = folder / "stubs"
    stubs.mkdir(exist_ok=True)
    for name in names:
        shared(stubs / name, "", f"-Wl,-soname,{name}")
    return [f"-L{stubs}", "-Wl,--no-as-needed", "-Wl,--unresolved-symbols=ignore-all", *(f"-l:{n}" for n in names)]


def gpu_code(*architectures: int) -> str:
    """C with machine code for these targets (90 for compute capability 9.0), as far as its headers go."""
    entries = b"".join(
        struct.pack("<HHIQ", 2, 0x101, 64, 24).ljust(28, b"\0") + struct.pack("<I", number).ljust(36, b"\0") + bytes(24)
        for number in architectures
    )
    chain = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries
    values = ",".join(map(str, chain))
    return f'__asm__(".section .nv_fatbin,\\"a\\"\\n.balign 8\\n.byte {values}\\n.text");'


def child(python: Path | str, code: str, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """What a program prints in a fresh interpreter whose loader sees our settings only."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LD_")}
    run = subprocess.run(
        [str(python), "-c", code, *arguments], env={**clean, **(environ or {})}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def imported(path: Path, environ: Mapping[str, str] | None = None, python: Path | str = sys.executable) -> str:
    """The error of importing the file in a child; empty when it loads."""
    text = child(python, FROM_PATH + "print(json.dumps(attempt(sys.argv[1])))", str(path), environ=environ)
    return str(json.loads(text.splitlines()[-1]))


SAYINGS = (
    ("library", re.compile(r"^(\S+): cannot open shared object file")),
    ("version", re.compile(r"version `([^']+)' not found")),
    ("symbol", re.compile(r"undefined symbol: (\w+)")),
    ("broken", re.compile(r"^(\S+): (?:invalid ELF header|file too short)")),
)


def said(error: str) -> tuple[str, str]:
    """The loader's first complaint as kind and name."""
    for kind, pattern in SAYINGS:
        if match := pattern.search(error):
            return kind, Path(match[1]).name
    assert not error, error
    return "loads", ""


def told(linkage: Linkage) -> dict[str, set[str]]:
    answers = {
        "library": {missing.name for missing in linkage.missing_libraries},
        "broken": {broken.path.name for broken in linkage.broken},
        "version": {missing.version for missing in linkage.missing_versions},
        "symbol": {unresolved.symbol for unresolved in linkage.unresolved},
    }
    return {kind: names for kind, names in answers.items() if names}
