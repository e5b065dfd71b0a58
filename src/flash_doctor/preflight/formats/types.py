"""Whether a value fits a type as a schema's source writes it, by pydantic's lenient rules.

An int takes 2.0 and "2" but not 2.5; a bool takes yes, no, on, off, 1 and 0; a str takes only a str.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from flash_doctor.preflight.config import number, truth

Enums: TypeAlias = Mapping[str, tuple[str, ...]]


def accepts(written: str, value: Any, enums: Enums) -> bool:
    """Whether `value` fits the type `written`; a type that cannot be judged from its text accepts all."""
    tree = _parse(written)
    return tree is None or _fits(tree, value, enums)


@cache
def _parse(written: str) -> ast.expr | None:
    try:
        return ast.parse(written, mode="eval").body
    except SyntaxError:
        return None


def _fits(node: ast.expr, value: Any, enums: Enums) -> bool:
    if isinstance(node, ast.BinOp):
        return _fits(node.left, value, enums) or _fits(node.right, value, enums)
    if isinstance(node, ast.Constant):
        return value is None if node.value is None else True
    if isinstance(node, ast.Name):
        return _fits_name(node.id, value, enums)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return _fits_generic(node.value.id, _arguments(node), value, enums)
    return True


def _arguments(node: ast.Subscript) -> list[ast.expr]:
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def _integral(value: Any) -> bool:
    found = number(value)
    whole = found is not None and found == int(found)
    return whole if not isinstance(value, str) else whole and value.strip().lstrip("+-").isdecimal()


_ENDLESS = {"inf", "-inf", "nan"}
_SCALARS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, bool) or _integral(value),
    "float": lambda value: isinstance(value, bool) or number(value) is not None or str(value).lower() in _ENDLESS,
    "bool": lambda value: truth(value) is not None and value not in ("", 2),
    "dict": lambda value: isinstance(value, Mapping),
    "list": lambda value: isinstance(value, list),
    "PositiveInt": lambda value: _integral(value) and (number(value) or 0) > 0,
}


def _fits_name(name: str, value: Any, enums: Enums) -> bool:
    if name in _SCALARS:
        return _SCALARS[name](value)
    if name in enums:
        return isinstance(value, str) and value in enums[name]
    # a model of its own, or a type whose source is elsewhere
    return value is not None


def _fits_generic(name: str, arguments: list[ast.expr], value: Any, enums: Enums) -> bool:
    if name == "Literal":
        return any(isinstance(each, ast.Constant) and each.value == value for each in arguments)
    if name in {"Optional", "Annotated"}:
        return (name == "Optional" and value is None) or _fits(arguments[0], value, enums)
    if name in {"Union"}:
        return any(_fits(each, value, enums) for each in arguments)
    if name in {"list", "List"}:
        return isinstance(value, list) and all(_fits(arguments[0], item, enums) for item in value)
    if name in {"dict", "Dict"}:
        return isinstance(value, Mapping) and all(_fits(arguments[-1], item, enums) for item in value.values())
    if name in {"tuple", "Tuple"}:
        return isinstance(value, list)
    return True


def wanted(written: str) -> str:
    """The type in words."""
    words = {"bool": "true or false", "int": "a whole number", "str": "a text", "float": "a number", "None": "nothing"}
    parts = [words.get(part.strip(), part.strip()) for part in written.split("|")]
    return " or ".join(dict.fromkeys(part for part in parts if part != "nothing"))
