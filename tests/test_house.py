"""The rules of the house, read from the source itself: who may import whom, and how long things may be."""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src" / "flash_doctor"
MODULES = sorted(SOURCE.rglob("*.py"))

# Each room, and the rooms above it that it may know (`errors` is everybody's): arrows run upward in this table only.
KNOWS: dict[str, set[str]] = {
    "errors": set(),
    "model": set(),
    "system": {"model"},
    "facts": {"model", "system"},
    "rules": {"model", "system", "facts"},
    "abi": {"model", "system", "facts"},
    "probe": {"model", "system", "facts", "abi"},
    "diagnose": {"model", "system", "facts", "rules", "abi"},
    "resolve": {"model", "system", "facts", "abi"},
    "verify": {"model", "system", "facts"},
    "install": {"model", "system", "facts", "abi", "probe", "diagnose", "resolve", "verify"},
    "explain": {"model", "system", "facts", "rules", "abi"},
    "preflight": {"model", "system", "facts", "rules"},
    "watch": {"model", "system", "facts", "rules"},
    "fleet": {"model", "system", "facts"},
    "render": {"model", "system", "facts"},
}
IN_TARGET = {SOURCE / "probe" / "inside.py", SOURCE / "verify" / "kernel.py"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    """`flash_doctor.room.module`, a package by its folder."""
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """The modules of ours that this one imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inner if inner <= NAMES else (inner & NAMES) | {node.module}
    return names & NAMES


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if "." in name}


NAMES = {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_layering(path: Path) -> None:
    here = room(path)
    if here in KNOWS:
        assert imported_rooms(path) <= KNOWS[here] | {here, "errors"}
    else:
        assert here in {"cli", "__main__", "__init__"}, f"{here} has no place in the layering table"


def test_no_arrow_runs_up() -> None:
    order = list(KNOWS)
    assert all(order.index(known) < order.index(here) for here, rooms in KNOWS.items() for known in rooms)


def test_no_module_lies_loose() -> None:
    assert {path.stem for path in SOURCE.glob("*.py")} == {"__init__", "__main__", "errors"}


def test_no_circle() -> None:
    """Of modules, be the import at the top or inside a function."""
    waiting = {name_of(path): {name for name in imported(path) if name != name_of(path)} for path in MODULES}
    while free := {name for name, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
    assert not waiting


@pytest.mark.parametrize("path", sorted(IN_TARGET & set(MODULES)), ids=lambda path: path.name)
def test_scripts_for_the_target_import_nothing_of_ours(path: Path) -> None:
    assert not imported(path)
    assert "flash_doctor" not in path.read_text(encoding="utf-8").replace("flash_doctor/", "")


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


# What a room's functions may have, in lines with their docstrings: the median, and nine of ten. A long idea is not cut
# for it; a room in which most functions are long has ideas that nobody told apart.
BUDGETS = {
    "abi": (7, 16),
    "cli": (9, 24),
    "diagnose": (10, 30),  # a docstring there is the page that `explain CODE` prints
    "explain": (6, 15),
    "facts": (5, 16),
    "fleet": (8, 18),
    "install": (8, 18),
    "model": (4, 8),
    "preflight": (8, 22),
    "probe": (8, 18),
    "render": (8, 16),
    "resolve": (8, 18),
    "rules": (6, 16),
    "system": (7, 16),
    "verify": (8, 20),
    "watch": (6, 15),
}


@pytest.mark.parametrize("here", BUDGETS)
def test_functions_keep_to_the_budget_of_their_room(here: str) -> None:
    lengths = sorted(length(node) for path in MODULES if room(path) == here for node in functions(path))
    median, most = statistics.median(lengths), lengths[len(lengths) * 9 // 10]
    assert (median, most) <= BUDGETS[here]
    assert most <= BUDGETS[here][1]


def test_every_room_has_a_budget() -> None:
    assert {room(path) for path in MODULES} - {"__init__", "__main__", "errors"} == BUDGETS.keys()


def test_no_small_module_serves_one_other_alone() -> None:
    """It belongs into that one; a script that runs in another Python stands by itself."""
    users = Counter(name for path in MODULES for name in imported(path) - {name_of(path)})
    small = [
        name_of(path)
        for path in MODULES
        if path.name != "__init__.py" and len(path.read_text(encoding="utf-8").splitlines()) < 40
    ]
    assert [name for name in small if users[name] == 1] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path)), "a module begins with a sentence that says what it is for"


def test_programs_are_found_in_one_place() -> None:
    """shutil.which takes an empty entry of PATH for the current folder."""
    finder = SOURCE / "system" / "paths.py"
    others = [str(path) for path in MODULES if path != finder and "which(" in path.read_text(encoding="utf-8")]
    assert not others


# what begins with a program's name and is no command: sentences, and a version
SAID = {
    ("cli/app.py", "flash-doctor {}"),
    ("diagnose/shadows.py", "flash-doctor was started in {}"),
    ("probe/nvidia_smi.py", "nvidia-smi says {}"),
    ("render/explanations.py", "flash-doctor {}:"),
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
    files = [
        path for folder in ("src", "tests", "scripts", "wheel_matrix", "docs") for path in (root / folder).rglob("*")
    ]
    named = [
        f"{path}: {host}"
        for path in [*files, *root.glob("*.md"), *(root / name for name in ("pyproject.toml", ".ci/run"))]
        if path.is_file() and path.suffix not in {".bin", ".pyc", ".gz"}
        for host in hosts
        if host in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert not named


def test_a_class_name_means_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
