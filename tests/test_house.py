"""The rules of the house, read from the source itself: who may import whom, and how long things may be."""

from __future__ import annotations

import ast
import re
import statistics
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src" / "flash_doctor"
MODULES = sorted(SOURCE.rglob("*.py"))

# Stages never import each other; only treat, cli and render may bring their values together.
STAGES = {"probe", "diagnose", "resolve", "install", "verify", "explain", "preflight", "fleet"}
EVERYONE = {"model", "errors", "system", "signals", ""}
ALLOWED = {
    "model": {"model"},
    "system": {"model", "errors", "system"},
    "errors": set(),
    "signals": set(),
    "part_file": set(),
    "trouble": EVERYONE,
    "codec": EVERYONE,
    "command": EVERYONE,
    "http": EVERYONE | {"trouble", "part_file"},
    "download": EVERYONE | {"http", "part_file"},
    "ranges": EVERYONE | {"http"},
    "inquiry": EVERYONE | {"command"},
    "target": EVERYONE | {"command", "codec", "inquiry"},
    "facts": EVERYONE,
    "abi": EVERYONE | {"abi", "facts"},
    "probe": EVERYONE | {"probe", "target", "inquiry", "command", "codec", "abi", "facts"},
    "diagnose": EVERYONE | {"diagnose", "facts", "abi"},
    "resolve": EVERYONE | {"resolve", "facts", "http", "codec", "command", "abi"},
    "install": EVERYONE | {"install", "command", "http", "download", "part_file", "codec", "abi", "facts", "target"},
    "verify": EVERYONE | {"verify", "command", "codec", "target", "facts"},
    "explain": EVERYONE | {"explain", "facts", "abi", "codec"},
    "preflight": EVERYONE | {"preflight", "facts", "codec"},
    "fleet": EVERYONE | {"fleet", "command", "codec", "facts"},
    "node": EVERYONE | {"probe", "diagnose", "facts", "target", "command", "render"},
    "setup_rule": EVERYONE,
    "render": EVERYONE | {"render", "codec", "diagnose", "facts"},
    "treat": EVERYONE | STAGES | {"command", "codec", "facts", "abi", "target", "inquiry", "http", "download"},
}
IN_TARGET = {SOURCE / "probe" / "inside.py", SOURCE / "verify" / "kernel.py"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.split(".")[1] for name in names if name.startswith("flash_doctor.")}
    return {name for name in ours if (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").exists()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_layering(path: Path) -> None:
    here = room(path)
    if here in ALLOWED:
        assert imported_rooms(path) <= ALLOWED[here] | {here}
    else:
        assert here in {"cli", "__main__", "__init__"}, f"{here} has no place in the layering table"
        return
    assert "cli" not in imported_rooms(path)


@pytest.mark.parametrize("path", sorted(IN_TARGET & set(MODULES)), ids=lambda path: path.name)
def test_scripts_for_the_target_import_nothing_of_ours(path: Path) -> None:
    assert not imported_rooms(path)
    assert "flash_doctor" not in path.read_text(encoding="utf-8").replace("flash_doctor/", "")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    long = [f"{node.name}: {length(node)}" for node in functions(path) if length(node) > 40]
    assert not long


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_median_function_is_under_ten_lines() -> None:
    assert statistics.median(length(node) for path in MODULES for node in functions(path)) < 10


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path)), "a module begins with a sentence that says what it is for"


def test_programs_are_found_in_one_place() -> None:
    """shutil.which takes an empty entry of PATH for the current folder."""
    finder = SOURCE / "system" / "programs.py"
    others = [str(path) for path in MODULES if path != finder and "which(" in path.read_text(encoding="utf-8")]
    assert not others


# what begins with a program's name and is no command: sentences, and a version
SAID = {
    ("cli/__init__.py", "flash-doctor {}"),
    ("diagnose/shadows.py", "flash-doctor was started in {}"),
    ("probe/smi.py", "nvidia-smi says {}"),
    ("render/codes.py", "flash-doctor {}:"),
}
COMMAND = re.compile(
    r"\s*(?:flash-doctor|pip|uv|sudo|apt|apt-get|export|unset|conda|git|chmod|chown|rm|mv|srun|scontrol|docker|curl|sh"
    r"|nvidia-smi|python3?) "
)


def made_of_pieces(path: Path) -> Iterator[str]:
    """The beginning of each text that is put together from a constant and something else."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
            yield str(node.left.value) if isinstance(node.left, ast.Constant) else ""
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            yield str(node.func.value.value) if isinstance(node.func.value, ast.Constant) else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_commands_are_written_in_one_place(path: Path) -> None:
    """system/commands.py quotes; whoever else joins a command forgets it one day."""
    name = str(path.relative_to(SOURCE))
    if name == "system/commands.py":
        return
    said = tuple(begin for module, begin in SAID if module == name)
    joined = [text for text in made_of_pieces(path) if COMMAND.match(text)]
    assert [text for text in joined if not said or not text.startswith(said)] == []


# values that prove by their type that something was done, and the modules that may make one
MAKERS = {
    "CommandLine": {"system/commands.py"},
    "Redacted": {"system/redact.py", "render/console.py"},
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_value_that_proves_something_is_made_by_its_owner(kind: str) -> None:
    calls = {
        str(path.relative_to(SOURCE))
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind
    }
    assert calls == MAKERS[kind]


SECRET_WORDS = re.compile(r"(?i)^\W*(?:token|secret|passw\w*|credentials?|api\W{0,2}key)\W*$")
OF_SECRETS = {f"system/{name}.py" for name in ("redact", "secret_addresses", "secret_shapes", "secret_values")}
OF_SECRETS |= {f"system/{name}.py" for name in ("secret_names", "secret_words")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_names_that_say_secret_are_listed_in_one_place(path: Path) -> None:
    """A second list lacks what the first one learns."""
    if str(path.relative_to(SOURCE)) in OF_SECRETS:
        return
    for node in ast.walk(tree(path)):
        words: list[str] = []
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            words = [str(each.value) for each in node.elts if isinstance(each, ast.Constant)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split("|")
        assert len([word for word in words if SECRET_WORDS.match(word)]) < 2, words


def test_no_registry_host_is_named() -> None:
    hosts = ["py" + "pi.org", "python" + "hosted", "deb.deb" + "ian", "npm" + "js"]
    root = SOURCE.parents[1]
    files = [path for folder in ("src", "tests", "scripts", "wheel_matrix") for path in (root / folder).rglob("*")]
    named = [
        f"{path}: {host}"
        for path in [*files, *(root / name for name in ("README.md", "SECURITY.md", "pyproject.toml", ".ci/run"))]
        if path.is_file() and path.suffix not in {".bin", ".pyc", ".gz"}
        for host in hosts
        if host in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert not named
