"""The doctor's answer about an extension against what an import in a child process really says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compiled import extension, imported, references, said, shared, told, versioned
from flash_doctor.abi.linker import link
from flash_doctor.errors import BadBinary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PYTHON = Path(sys.executable)


def agree(path: Path, environ: Mapping[str, str] | None = None) -> dict[str, set[str]]:
    """Hold the doctor's answer against the import, and give it."""
    linkage = link(path, PYTHON, None, environ or {})
    kind, name = said(imported(path, environ))
    answer = told(linkage)
    assert linkage.loads == (kind == "loads")
    assert kind == "loads" or name in answer[kind], (kind, name, answer)
    # the loader stops at the first kind of trouble, in this order
    assert kind == "loads" or kind == next(iter(answer))
    return answer


def library(folder: Path, name: str, *options: str, source: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return shared(folder / name, source, f"-Wl,-soname,{name}", "-Wl,--no-as-needed", *options)


def depends(folder: Path, *names: str) -> list[str]:
    """Linker options that make DT_NEEDED entries."""
    return [f"-L{folder}", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", *(f"-l:{name}" for name in names)]


def test_a_module_that_needs_python_only(tmp_path: Path) -> None:
    assert agree(extension(tmp_path, "plain")) == {}


def test_undefined_symbols_are_all_named(tmp_path: Path) -> None:
    path = extension(tmp_path, "lost", references(["nobody_has_this", "nor_this", "PyLong_FromLong"]))
    assert agree(path) == {"symbol": {"nobody_has_this", "nor_this"}}


def test_a_weak_symbol_may_be_missing(tmp_path: Path) -> None:
    assert agree(extension(tmp_path, "weak", references([], weak=["nobody_has_this"]))) == {}


def test_a_symbol_without_a_relocation_is_never_looked_up(tmp_path: Path) -> None:
    path = extension(tmp_path, "unused", "", "-Wl,-u,nobody_has_this", "-Wl,--unresolved-symbols=ignore-all")
    assert b"nobody_has_this" in path.read_bytes()
    assert agree(path) == {}


def test_a_called_function_is_looked_up_at_once(tmp_path: Path) -> None:
    source = "extern int nobody_has_this(void); int caller(void) { return nobody_has_this(); }"
    assert agree(extension(tmp_path, "lazy", source, "-Wl,-z,lazy")) == {"symbol": {"nobody_has_this"}}


def test_a_missing_library_and_its_symbols(tmp_path: Path) -> None:
    library(tmp_path / "gone", "libgone.so.1", source="int gone(void) { return 1; }")
    path = extension(tmp_path, "orphan", references(["gone"]), *depends(tmp_path / "gone", "libgone.so.1"))
    assert agree(path) == {"library": {"libgone.so.1"}, "symbol": {"gone"}}
    assert agree(path, {"LD_LIBRARY_PATH": f"/nowhere:{tmp_path / 'gone'}"}) == {}


def test_a_missing_library_tells_where_was_searched(tmp_path: Path) -> None:
    library(tmp_path / "gone", "libgone.so.1")
    path = extension(tmp_path, "orphan", "", *depends(tmp_path / "gone", "libgone.so.1"), "-Wl,-rpath,$ORIGIN/here")
    (missing,) = link(path, PYTHON, None, {"LD_LIBRARY_PATH": "/first"}).missing_libraries
    assert missing.wanted_by == "orphan.so"
    assert missing.searched[:2] == (Path("/first"), tmp_path / "here")


def chain(tmp_path: Path, kind: str) -> Path:
    """extension -> libouter (in lib/) -> libinner (in lib/): only the extension names the folder."""
    folder = tmp_path / kind / "lib"
    library(folder, "libinner.so", source="int inner(void) { return 1; }")
    library(folder, "libouter.so", *depends(folder, "libinner.so"), source=references(["inner"]))
    options = [*depends(folder, "libouter.so"), "-Wl,-rpath,$ORIGIN/lib", f"-Wl,{kind}", f"-Wl,-rpath-link,{folder}"]
    return extension(tmp_path / kind, "chained", "", *options)


def test_rpath_is_inherited_runpath_is_not(tmp_path: Path) -> None:
    assert agree(chain(tmp_path, "--disable-new-dtags")) == {}
    assert agree(chain(tmp_path, "--enable-new-dtags")) == {"library": {"libinner.so"}, "symbol": {"inner"}}


@pytest.mark.parametrize(("kind", "winner"), [("--disable-new-dtags", "own"), ("--enable-new-dtags", "path")])
def test_ld_library_path_stands_between_rpath_and_runpath(tmp_path: Path, kind: str, winner: str) -> None:
    for name in ("own", "path"):
        library(tmp_path / name, "libtwice.so", source=f"int from_{name}(void) {{ return 1; }}")
    options = [*depends(tmp_path / "own", "libtwice.so"), "-Wl,-rpath,$ORIGIN/own", f"-Wl,{kind}"]
    path = extension(tmp_path, "torn", references([f"from_{winner}"]), *options)
    assert agree(path, {"LD_LIBRARY_PATH": str(tmp_path / "path")}) == {}
    assert agree(path) == ({} if winner == "own" else {"symbol": {"from_path"}})


def test_a_soname_already_loaded_wins_over_any_path(tmp_path: Path) -> None:
    first = library(tmp_path / "first", "libsame.so", source="int first(void) { return 1; }")
    library(tmp_path / "second", "libsame.so", source="int second(void) { return 1; }")
    path = extension(
        tmp_path,
        "late",
        references(["second"]),
        *depends(tmp_path / "second", "libsame.so"),
        "-Wl,-rpath,$ORIGIN/second",
    )
    assert agree(path) == {}
    assert agree(path, {"LD_PRELOAD": str(first)}) == {"symbol": {"second"}}


def test_a_preloaded_library_serves_everyone(tmp_path: Path) -> None:
    helper = library(tmp_path, "libhelper.so", source="int helper(void) { return 1; }")
    path = extension(tmp_path, "helped", references(["helper"]))
    assert agree(path) == {"symbol": {"helper"}}
    assert agree(path, {"LD_PRELOAD": str(helper)}) == {}


def test_a_glibc_version_that_is_too_new(tmp_path: Path) -> None:
    stub = tmp_path / "stub"
    stub.mkdir()
    versioned(stub / "libc.so.6", "libc.so.6", {"GLIBC_2.99": ["from_the_future"]}, "-nostdlib")
    path = extension(tmp_path, "future", references(["from_the_future"]), str(stub / "libc.so.6"), "-nostdlib")
    assert agree(path) == {"version": {"GLIBC_2.99"}, "symbol": {"from_the_future"}}


@pytest.mark.parametrize(
    ("has", "wants", "answer"),
    [
        ({"ONE": ["shared_name"]}, {"ONE": ["shared_name"]}, {}),
        ({"ONE": ["other"], "TWO": ["shared_name"]}, {"ONE": ["shared_name"]}, {"symbol": {"shared_name"}}),
        ({"TWO": ["shared_name"]}, {"ONE": ["shared_name"]}, {"version": {"ONE"}, "symbol": {"shared_name"}}),
    ],
)
def test_symbol_versions_are_compared(
    tmp_path: Path, has: dict[str, list[str]], wants: dict[str, list[str]], answer: dict[str, set[str]]
) -> None:
    for folder, versions in (("built", wants), ("run", has)):
        (tmp_path / folder).mkdir()
        versioned(tmp_path / folder / "libv.so", "libv.so", versions)
    options = [*depends(tmp_path / "built", "libv.so"), "-Wl,-rpath,$ORIGIN/run"]
    assert agree(extension(tmp_path, "choosy", references(["shared_name"]), *options)) == answer


def test_an_unversioned_library_serves_a_versioned_wish(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    versioned(tmp_path / "built" / "libv.so", "libv.so", {"ONE": ["shared_name"]})
    library(tmp_path / "run", "libv.so", source="int shared_name(void) { return 1; }")
    options = [*depends(tmp_path / "built", "libv.so"), "-Wl,-rpath,$ORIGIN/run"]
    assert agree(extension(tmp_path, "easy", references(["shared_name"]), *options)) == {}


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
def test_both_kinds_of_hash_table(tmp_path: Path, style: str) -> None:
    names = [f"symbol_number_{index}" for index in range(300)]
    library(tmp_path, "libmany.so", f"-Wl,--hash-style={style}", source="".join(f"int {n};" for n in names))
    options = [*depends(tmp_path, "libmany.so"), "-Wl,-rpath,$ORIGIN"]
    path = extension(tmp_path, "hashed", references([*names, "symbol_number_300"]), *options)
    assert agree(path) == {"symbol": {"symbol_number_300"}}


def test_hidden_definitions_do_not_count(tmp_path: Path) -> None:
    source = 'int inside __attribute__((visibility("hidden"))); int outside;'
    library(tmp_path, "libshy.so", source=source)
    path = extension(
        tmp_path, "curious", references(["inside", "outside"]), *depends(tmp_path, "libshy.so"), "-Wl,-rpath,$ORIGIN"
    )
    assert agree(path) == {"symbol": {"inside"}}


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:40], lambda data: b"#!/bin/sh" + data])
def test_a_damaged_library(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    lib = library(tmp_path / "lib", "libsick.so")
    path = extension(tmp_path, "unlucky", "", *depends(tmp_path / "lib", "libsick.so"), "-Wl,-rpath,$ORIGIN/lib")
    lib.write_bytes(damage(lib.read_bytes()))
    assert agree(path) == {"broken": {"libsick.so"}}


def test_a_library_of_another_class_is_passed_over(tmp_path: Path) -> None:
    good = library(tmp_path / "good", "libclass.so")
    path = extension(
        tmp_path, "picky", "", *depends(tmp_path / "good", "libclass.so"), "-Wl,-rpath,$ORIGIN/bad:$ORIGIN/good"
    )
    data = bytearray(good.read_bytes())
    data[4] = 1
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "libclass.so").write_bytes(data)
    assert agree(path) == {}


def test_the_place_of_a_library_found_through_a_link(tmp_path: Path) -> None:
    """$ORIGIN is the folder through which a library was found, not where a link in it leads."""
    library(tmp_path / "store", "libinner.so")
    options = [*depends(tmp_path / "store", "libinner.so"), "-Wl,-rpath,$ORIGIN"]
    outer = library(tmp_path / "store", "libouter.so", *options)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libouter.so").symlink_to(outer)
    path = extension(tmp_path, "linked", "", *depends(tmp_path / "lib", "libouter.so"), "-Wl,-rpath,$ORIGIN/lib")
    assert agree(path) == {"library": {"libinner.so"}}


def test_libraries_that_need_each_other(tmp_path: Path) -> None:
    library(tmp_path, "libone.so")
    library(tmp_path, "libtwo.so", *depends(tmp_path, "libone.so"), "-Wl,-rpath,$ORIGIN")
    library(tmp_path, "libone.so", *depends(tmp_path, "libtwo.so"), "-Wl,-rpath,$ORIGIN", source="int one;")
    options = [*depends(tmp_path, "libone.so"), "-Wl,-rpath,$ORIGIN"]
    assert agree(extension(tmp_path, "circle", references(["one"]), *options)) == {}


def test_an_interpreter_that_is_a_script(tmp_path: Path) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text("#!/bin/sh\nexec python3\n")
    with pytest.raises(BadBinary, match="not an ELF file"):
        link(extension(tmp_path, "plain"), wrapper, None, {})


def test_real_libraries_of_this_interpreter() -> None:
    """Every extension of the standard library loads, and so says the doctor."""
    import _ctypes

    for path in sorted(Path(_ctypes.__file__).parent.glob("*.so"))[:12]:
        assert (told(link(path, PYTHON, None, {})) == {}) == (imported(path) == ""), path


HOST = """
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **words) { if (!dlopen(words[1], RTLD_NOW)) printf("%s", dlerror()); return count != 2; }
"""


@pytest.mark.parametrize(
    ("kind", "answer"), [("--disable-new-dtags", {}), ("--enable-new-dtags", {"library": {"libshared.so"}})]
)
def test_the_rpath_of_the_executable_serves_all(tmp_path: Path, kind: str, answer: dict[str, set[str]]) -> None:
    """As in conda, whose python brings its own libraries to every extension; through a link to it, as in a venv."""
    library(tmp_path / "base" / "lib", "libshared.so")
    (tmp_path / "base" / "bin").mkdir()
    host = tmp_path / "base" / "bin" / "host"
    options = ["-Wl,-rpath,$ORIGIN/../lib", f"-Wl,{kind}"]
    subprocess.run(["gcc", "-x", "c", "-", "-o", str(host), *options], input=HOST.encode(), check=True)
    (tmp_path / "link").symlink_to(host)
    path = shared(tmp_path / "ext.so", "", *depends(tmp_path / "base" / "lib", "libshared.so"))
    assert told(link(path, tmp_path / "link", None, {})) == answer
    done = subprocess.run([str(tmp_path / "link"), str(path)], capture_output=True, text=True, check=True)
    kind_said, name = said(done.stdout)
    assert (kind_said == "loads") == (not answer)
    assert not answer or name in answer[kind_said]
