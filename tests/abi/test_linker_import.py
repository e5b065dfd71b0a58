"""What `import torch` leaves behind for the next import, on a small torch made here that loads as the real one does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from compiled import FROM_PATH, child, extension, references, said, shared, told
from flash_doctor.abi.linker import link, open_linker

PYTHON = Path(sys.executable)
# The order of torch/__init__.py: global dependencies for everyone, CUDA from the nvidia packages where the loader
# finds none, then torch/_C for itself.
IMPORT = """
import ctypes, glob, os
here = os.path.dirname(__file__)
deps = os.path.join(here, "lib", "libtorch_global_deps.so")
try:
    ctypes.CDLL(deps, mode=ctypes.RTLD_GLOBAL)
except OSError:
    for library in glob.glob(os.path.join(os.path.dirname(here), "nvidia", "*", "lib", "libfakecudart.so.12")):
        ctypes.CDLL(library)
    ctypes.CDLL(deps, mode=ctypes.RTLD_GLOBAL)
ctypes.CDLL(glob.glob(os.path.join(here, "_C.*.so"))[0])
"""


def library(path: Path, symbol: str, *needs: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ["-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", *map(str, needs)]
    return shared(
        path, f"int {symbol}(void) {{ return 1; }}", f"-Wl,-soname,{path.name}", "-Wl,-rpath,$ORIGIN", *options
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """site-packages with torch, and a CUDA library in an nvidia package where only torch finds it."""
    site = tmp_path / "site"
    cuda = library(site / "nvidia" / "runtime" / "lib" / "libfakecudart.so.12", "from_cudart")
    shown = library(site / "torch" / "lib" / "libshown.so", "from_shown")
    library(site / "torch" / "lib" / "libtorch_global_deps.so", "from_deps", shown, cuda)
    c10 = library(site / "torch" / "lib" / "libc10.so", "from_c10")
    library(site / "torch" / "lib" / "libtorch_python.so", "from_torch_python", c10)
    core = [str(site / "torch" / "lib" / "libtorch_python.so"), "-Wl,-rpath,$ORIGIN/lib"]
    shared(site / "torch" / "_C.cpython-311-x86_64-linux-gnu.so", "int core;", "-Wl,--no-as-needed", *core)
    (site / "torch" / "__init__.py").write_text(IMPORT)
    return site


CASES: dict[str, tuple[list[str], list[str], dict[str, set[str]]]] = {
    # name: (symbols wanted, libraries needed, what is to be said)
    "global": (["from_deps", "from_shown", "from_cudart"], [], {}),
    "local": (["from_c10"], [], {"symbol": {"from_c10"}}),
    "by_soname": (["from_c10"], ["libc10.so"], {}),
    "through": (["from_c10"], ["libtorch_python.so"], {}),
    "cuda": (["from_cudart"], ["libfakecudart.so.12"], {}),
    "gone": ([], ["libtorch_gone.so"], {"library": {"libtorch_gone.so"}}),
}


def test_what_the_next_import_finds(site: Path, tmp_path: Path) -> None:
    paths = {name: made(tmp_path, name, *CASES[name][:2]) for name in CASES}
    code = f"{FROM_PATH}\nsys.path.insert(0, sys.argv[1])\nimport torch\n"
    code += "print(json.dumps([forked(path) for path in sys.argv[2:]]))"
    answers = json.loads(child(PYTHON, code, str(site), *map(str, paths.values())))
    with open_linker(PYTHON, site / "torch" / "lib", {}) as linker:
        for (name, path), error in zip(paths.items(), answers, strict=True):
            expected = CASES[name][2]
            assert told(linker.link(path)) == expected, name
            kind, word = said(error)
            assert expected.get(kind, {""}) >= {word}, (name, error)
            assert (kind == "loads") == (not expected), (name, error)


def made(folder: Path, name: str, symbols: list[str], needs: list[str]) -> Path:
    stubs = folder / "stubs"
    stubs.mkdir(exist_ok=True)
    options = ["-Wl,--no-as-needed", *(str(shared(stubs / need, "", f"-Wl,-soname,{need}")) for need in needs)]
    return extension(folder, name, references(symbols), *options)


def test_one_extension_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    """Libraries that one extension brings do not count as loaded for another."""
    shared(tmp_path / "libbrought.so", "int brought;", "-Wl,-soname,libbrought.so")
    needs = ["-Wl,--no-as-needed", str(tmp_path / "libbrought.so")]
    first = extension(tmp_path, "first", references(["brought"]), *needs, "-Wl,-rpath,$ORIGIN")
    second = extension(tmp_path, "second", references(["brought"]), *needs)
    with open_linker(PYTHON, None, {}) as linker:
        assert linker.link(first).loads
        assert told(linker.link(second)) == {"library": {"libbrought.so"}, "symbol": {"brought"}}
        assert linker.link(first) == link(first, PYTHON, None, {})


def test_a_part_of_torch_is_examined_though_torch_was_imported(site: Path) -> None:
    lib = site / "torch" / "lib"
    (core,) = (site / "torch").glob("_C.*.so")
    assert link(core, PYTHON, lib, {}).loads
    (lib / "libc10.so").unlink()
    assert told(link(core, PYTHON, lib, {})) == {"library": {"libc10.so"}}
