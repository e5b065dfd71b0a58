"""Mangled C++ names (Itanium C++ ABI): what they say to people, which string they use, whose they are."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# A name of n characters with k back-references cannot grow beyond about n * 3**(k/3) characters; within these
# limits that stays under some ten megabytes, and real torch symbols (at most 600 characters) are far inside.
_LENGTH_LIMIT, _REFERENCE_LIMIT = 2048, 36
_MANGLED = re.compile(r"_Z[A-Za-z0-9_.$]+", re.ASCII)
_REFERENCE = re.compile(r"[ST][0-9A-Z]*_")
# One token of a mangled name; an identifier is a length and that many characters, whatever they spell.
_TOKEN = re.compile(r"[ST][0-9A-Z]*_|A\d+_|L[a-z]n?\d+E|(?P<length>\d+)|(?P<old>Ss)|S[a-z]|.", re.DOTALL)
_FAMILIES = ("2at", "3c10", "5torch", "6caffe2")
# special names (vtable, typeinfo, guard ...), nesting, and cv-qualifiers stand before the first namespace
_TORCH = re.compile(rf"_Z(?:T[VTISCW]|G[VR]|Th?n?\d*_)?N?[rVKRO]*(?:{'|'.join(_FAMILIES)})|THP[A-Z]")
_C_SHIM = re.compile(r"(?:aoti_torch|torch)_")


def demangle(name: str) -> str:
    """The name as C++ writes it; unchanged where it is none, is too involved, or no demangler is at hand."""
    bounded = len(name) <= _LENGTH_LIMIT and len(_REFERENCE.findall(name)) <= _REFERENCE_LIMIT
    if not bounded or not _MANGLED.fullmatch(name):
        return name
    demangler = _demangler()
    return (demangler(name.encode()) if demangler else None) or name


@cache
def _demangler() -> Callable[[bytes], str | None] | None:
    """`__cxa_demangle` of the C++ library that this Python can load; None where there is none."""
    # an empty or relative entry makes the loader look into the current folder, and what lies there would run in us
    if not all(map(os.path.isabs, os.environ.get("LD_LIBRARY_PATH", "/").split(":"))):
        return None
    import ctypes

    for library in ("libstdc++.so.6", "libc++abi.so.1", "libc++.1.dylib"):
        try:
            function = ctypes.CDLL(library).__cxa_demangle
            free = ctypes.CDLL(None).free
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_void_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        free.argtypes, free.restype = (ctypes.c_void_p,), None
        return lambda name: _call(function, free, name)
    return None


def _call(function: Callable[..., int | None], free: Callable[[int], None], name: bytes) -> str | None:
    import ctypes

    status = ctypes.c_int(-1)
    answer = function(name, None, None, ctypes.byref(status))
    if not answer:
        return None
    text = ctypes.string_at(answer).decode("utf-8", "replace")
    free(answer)
    return text if status.value == 0 else None


def is_torch(name: str) -> bool:
    """Whether the symbol is torch's: its C++ namespaces, its Python glue (THP...), its C shims."""
    return bool(_TORCH.match(name) or _C_SHIM.match(name))


def is_c_shim(name: str) -> bool:
    """Whether it belongs to the C interface that extensions with torch's stable ABI keep to."""
    return bool(_C_SHIM.match(name))


def cxx11_strings(names: Iterable[str]) -> bool | None:
    """Whether the names use std::string of the C++11 ABI; None when none uses a string, or they disagree."""
    answers = {answer for name in names if (answer := _string_kind(name)) is not None}
    return answers.pop() if len(answers) == 1 else None


def _string_kind(name: str) -> bool | None:
    if "__cxx11" in name or "B5cxx11" in name:
        return True
    if not name.startswith("_Z") or "Ss" not in name:
        return None
    return False if _has_old_string(name) else None


def _has_old_string(name: str) -> bool:
    """Whether `Ss` (the abbreviation of the old std::string) stands there as a type, not within an identifier."""
    at = len("_Z")
    while token := _TOKEN.match(name, at):
        if token["old"]:
            return True
        at = token.end() + (int(token["length"][:6]) if token["length"] else 0)
    return False
