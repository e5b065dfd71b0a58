"""Model values to JSON and back.

Decoding takes a stranger's data: every fault names its path, none is a traceback, a key that the shape does not have
is a fault, and what comes out is a claim. Dataclasses that stand for each other are told apart by a tag, a field of
the type `Literal`; never by what happens to fit.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from packaging.utils import canonicalize_name
from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.system.claims import Claimed
from flash_doctor.system.redact import cut

T = TypeVar("T")
Json = Any


def encode(value: object) -> Json:
    """JSON-ready form: dataclass to object, tuple to list, Enum to its value, Version and Path to text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {_escaped(key, alone=len(value) == 1): encode(item) for key, item in value.items()}
    return str(value) if isinstance(value, (Version, Path)) else value


# The one key of the objects that Absent and Unknown become; a mapping with such a key alone is written with a mark.
_MARKERS = ("absent", "unknown")
_MARK = "~"


def _escaped(key: object, *, alone: bool) -> str:
    text = str(key)
    return _MARK + text if alone and text.lstrip(_MARK) in _MARKERS else text


def _plain(key: str, *, alone: bool) -> str:
    return key[1:] if alone and key.startswith(_MARK) and key.lstrip(_MARK) in _MARKERS else key


def decode(kind: type[T], claim: Claimed[Json], path: str = "$") -> Claimed[T]:
    """The parsed JSON of a claim as a value of `kind`: a claim of that shape.

    Raises:
        BadInput: with the path of the first fault, as in `$.gpus.devices[0].memory: expected int, found str`.
    """
    return Claimed(_decode(kind, claim.unproved(), path), claim.origin)


def _decode(kind: Any, data: Json, path: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), data, path)
    if origin is Literal:
        return _decode_literal(get_args(kind), data, path)
    if origin is tuple:
        return _decode_tuple(get_args(kind), data, path)
    if origin is not None and issubclass(origin, Mapping):
        return _decode_mapping(get_args(kind), data, path)
    if is_dataclass(kind):
        return _decode_dataclass(kind, data, path)
    return _decode_scalar(kind, data, path)


def _fault(path: str, wanted: object, data: Json) -> BadInput:
    name = getattr(wanted, "__name__", str(wanted))
    return BadInput(f"{path}: expected {name}, found {type(data).__name__}")


def _decode_union(kinds: tuple[Any, ...], data: Json, path: str) -> Any:
    """The member whose shape fits; an object with the marker key of Absent or Unknown is always that one."""
    if data is None and type(None) in kinds:
        return None
    members = [kind for kind in kinds if kind is not type(None)]
    markers = {key: kind for kind in members for key in _MARKERS if key in _names(kind)}
    if isinstance(data, dict) and len(data) == 1:
        marker = markers.get(next(iter(data)))
        if marker is not None:
            return _decode(marker, data, path)
    plain = [kind for kind in members if kind not in markers.values()]
    if not plain:
        raise _fault(path, "absent or unknown", data)
    return _decode(plain[0] if len(plain) == 1 else _tagged(plain, data, path), data, path)


def _tagged(kinds: list[Any], data: Json, path: str) -> Any:
    """The member of a union whose tag the object carries."""
    tag, members = _tags(tuple(kinds))
    value = data.get(tag) if isinstance(data, dict) else None
    if not isinstance(value, str) or value not in members:
        message = f"{path}.{tag}: expected one of {', '.join(members)}"
        raise BadInput(message)
    return members[value]


@cache
def _tags(kinds: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    """The field that is a tag in all of these dataclasses, and the member for each of its values."""
    tags = [{name: get_args(hint) for name, hint in _hints(kind).items() if _is_literal(hint)} for kind in kinds]
    (tag,) = set.intersection(*map(set, tags))
    return tag, {value: kind for kind, values in zip(kinds, tags, strict=True) for value in values[tag]}


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


def _decode_literal(allowed: tuple[Any, ...], data: Json, path: str) -> Any:
    if not isinstance(data, str) or data not in allowed:
        message = f"{path}: expected {' or '.join(map(str, allowed))}"
        raise BadInput(message)
    return data


def _decode_tuple(kinds: tuple[Any, ...], data: Json, path: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise _fault(path, "list", data)
    if kinds == (str, Ellipsis) and all(type(item) is str for item in data):  # the long lists: files, lines
        return tuple(data)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_decode(kinds[0], item, f"{path}[{index}]") for index, item in enumerate(data))
    if len(kinds) != len(data):
        raise _fault(path, f"list of {len(kinds)}", data)
    return tuple(
        _decode(kind, item, f"{path}[{index}]") for index, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


def _decode_mapping(kinds: tuple[Any, ...], data: Json, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _fault(path, "object", data)
    alone = len(data) == 1
    return {_plain(str(key), alone=alone): _decode(kinds[1], item, f"{path}.{key}") for key, item in data.items()}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _names(kind: Any) -> frozenset[str]:
    """Names of the fields of a dataclass; empty for anything else."""
    return frozenset(field.name for field in fields(kind)) if is_dataclass(kind) else frozenset()


def _decode_dataclass(kind: Any, data: Json, path: str) -> Any:
    if not isinstance(data, dict):
        raise _fault(path, kind, data)
    hints = _hints(kind)
    if unknown := sorted(cut(str(key), 80) for key in data.keys() - _names(kind)):
        message = f"{path}.{unknown[0]}: no such key in {kind.__name__}"
        raise BadInput(message)
    values = {}
    for field in fields(kind):
        if field.name in data:
            values[field.name] = _decode(hints[field.name], data[field.name], f"{path}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            message = f"{path}.{field.name}: missing"
            raise BadInput(message)
    return kind(**values)


def _version(data: str) -> Version:
    return Version(data)


# Text that stands for another type; a NewType is looked up by its name.
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "Version": _version,
    "Path": Path,
    "NormalizedName": canonicalize_name,
    "CommandLine": str,
}


def _decode_scalar(kind: Any, data: Json, path: str) -> Any:
    name = getattr(kind, "__name__", str(kind))
    if name in _FROM_TEXT and isinstance(data, str):
        try:
            return _FROM_TEXT[name](data)
        except ValueError as error:  # InvalidVersion is one, and so is a number of more digits than int() takes
            message = f"{path}: {error}"
            raise BadInput(message) from error
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _decode_enum(kind, data, path)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if isinstance(kind, type) and isinstance(data, kind) and (kind is bool or not isinstance(data, bool)):
        return data
    raise _fault(path, kind, data)


def _decode_enum(kind: type[Enum], data: Json, path: str) -> Enum:
    try:
        return kind(data)
    except ValueError as error:
        allowed = ", ".join(str(member.value) for member in kind)
        message = f"{path}: expected one of {allowed}"
        raise BadInput(message) from error
