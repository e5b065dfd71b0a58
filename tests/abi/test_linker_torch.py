"""Extensions against the real torch (the CPU build): the doctor's answer and the import's are the same."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from compiled import FROM_PATH, child, extension, needs, references, said, shared, told, versioned
from flash_doctor.abi.binary import read_binary, torch_cxx11abi
from flash_doctor.abi.linker import link

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

HAS = "_ZN3c106detail14torchCheckFailEPKcS2_jS2_"
ERROR = "_ZN3c105ErrorC1ENS_14SourceLocationE{}"
NEW_STRING, OLD_STRING = ERROR.format("NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"), ERROR.format("Ss")
CUDA_CHECK = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb"


def torch_lib(venv: Path) -> Path:
    return next((venv / "lib").glob("python3*/site-packages/torch/lib"))


def patients(folder: Path, lib: Path) -> dict[str, tuple[Path, dict[str, set[str]]]]:
    """Each way to break an extension, and what is then to be said."""

    def make(name: str, source: str, *options: str) -> Path:
        return extension(folder, name, source, *options)

    c10 = needs(folder, "libc10.so")
    (folder / "future").mkdir()
    future = versioned(folder / "future" / "libc.so.6", "libc.so.6", {"GLIBC_2.99": ["from_the_future"]}, "-nostdlib")
    shared(folder / "libc10.so", "int c10_impostor;", "-Wl,-soname,libc10.so")
    return {
        "healthy": (make("healthy", references([HAS, NEW_STRING]), *c10), {}),
        "symbol": (make("symbol", references([HAS, "_ZN3c107no_suchEv"]), *c10), {"symbol": {"_ZN3c107no_suchEv"}}),
        "string": (make("string", references([OLD_STRING]), *c10), {"symbol": {OLD_STRING}}),
        "library": (
            make("library", references([CUDA_CHECK, HAS]), *needs(folder, "libc10_cuda.so", "libc10.so")),
            {"library": {"libc10_cuda.so"}, "symbol": {CUDA_CHECK}},
        ),
        "not_linked": (make("not_linked", references([HAS])), {"symbol": {HAS}}),
        "glibc": (
            make("glibc", references(["from_the_future", HAS]), *c10, str(future), "-nostdlib"),
            {"version": {"GLIBC_2.99"}, "symbol": {"from_the_future"}},
        ),
        "weak": (make("weak", references([HAS], weak=["_ZN3c107no_suchEv"]), *c10), {}),
        "unused": (make("unused", "", *c10, "-Wl,-u,_ZN3c107no_suchEv"), {}),
        "impostor": (
            make("impostor", references([HAS, "c10_impostor"]), *c10, "-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags"),
            {"symbol": {"c10_impostor"}},
        ),
        "through_torch": (make("through_torch", references([HAS]), *needs(folder, "libtorch_python.so")), {}),
        "by_path": (make("by_path", references([HAS]), *c10, f"-Wl,-rpath,{lib}"), {}),
        "global_deps": (make("global_deps", references(["GOMP_parallel"])), {}),
    }


def test_the_doctor_says_what_the_import_says(tmp_path: Path, torch_venv: Path) -> None:
    lib, python = torch_lib(torch_venv), torch_venv / "bin" / "python"
    cases = patients(tmp_path, lib)
    code = f"{FROM_PATH}\nimport torch\nprint(json.dumps([forked(path) for path in sys.argv[1:]]))"
    answers = json.loads(child(python, code, *(str(path) for path, _ in cases.values())).splitlines()[-1])
    for (name, (path, expected)), error in zip(cases.items(), answers, strict=True):
        linkage = link(path, python, lib, {})
        assert told(linkage) == expected, name
        kind, word = said(error)
        assert (kind == "loads") == linkage.loads, (name, error)
        assert kind == "loads" or word in told(linkage)[kind], (name, error)
        assert kind == "loads" or kind == next(iter(told(linkage))), (name, error)


def test_torch_itself_loads(torch_venv: Path) -> None:
    lib = torch_lib(torch_venv)
    (core,) = lib.parent.glob("_C.*.so")
    linkage = link(core, torch_venv / "bin" / "python", None, {})
    assert linkage.loads
    assert {"libtorch_cpu.so", "libc10.so"} <= {library.name for library in linkage.libraries}


def test_without_torch_imported_first_its_libraries_are_missing(tmp_path: Path, torch_venv: Path) -> None:
    path = extension(tmp_path, "alone", references([HAS]), *needs(tmp_path, "libc10.so"))
    python = torch_venv / "bin" / "python"
    assert told(link(path, python, None, {}))["library"] == {"libc10.so"}
    error = child(python, f"{FROM_PATH}\nprint(attempt(sys.argv[1]))", str(path))
    assert said(error) == ("library", "libc10.so")


def test_another_python_is_refused_by_the_file_name(tmp_path: Path, torch_venv: Path) -> None:
    """The import system looks for names with its own tag: what fits_python says is what an import finds."""
    here = f"cpython-{sys.version_info.major}{sys.version_info.minor}-x86_64-linux-gnu"
    names = [f"tag_a.{here}.so", "tag_b.cpython-38-x86_64-linux-gnu.so", "tag_c.abi3.so"]
    for name in names:
        extension(tmp_path, name.split(".")[0]).rename(tmp_path / name)
    code = "import importlib.util, sys\nsys.path.insert(0, sys.argv[1])\n"
    code += "print([importlib.util.find_spec(name) is not None for name in ('tag_a', 'tag_b', 'tag_c')])"
    found = json.loads(child(torch_venv / "bin" / "python", code, str(tmp_path)).lower())
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert [read_binary(tmp_path / name).fits_python(tag) for name in names] == found == [True, False, True]


def test_the_string_of_torch_itself(torch_venv: Path) -> None:
    assert torch_cxx11abi(torch_lib(torch_venv) / "libc10.so") is True
