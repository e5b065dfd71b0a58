"""A symbol that the loader missed: which torch releases export it, or which library of CUDA brings it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.abi.demangle import cxx11_strings, demangle, is_torch

if TYPE_CHECKING:
    from packaging.version import Version

    from flash_doctor.abi.atlas import Atlas

# the three forms of loaders: Linux, macOS, and Linux again where a library of that name lacks the symbol's version
_MISSING = re.compile(
    r"(?:[Uu]ndefined symbol|[Ss]ymbol not found(?: in flat namespace)?"
    r"|\bsymbol (?=\w{1,2000}, version [\w.]{1,80} not defined in file))[:\s]{0,4}['\"(`‘]{0,2}"
    r"(?P<symbol>[\w.$]{0,2000})"
)
_FILE = re.compile(r"([^\s:'\"`(]{1,600}\.(?:so|pyd|dylib)[.\w-]{0,40})")
# c10::Error(SourceLocation, std::string): even cut off, its last argument is the string whose ABI differs
_ERROR_WITH_STRING = "_ZN3c105ErrorC2ENS"
_NOT_A_SYMBOL = {"", "in", "on", "when", "error", "errors", "after", "with", "from", "for", "while"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingSymbol:
    """`name` (mangled, may be empty where the log cuts it off) is missing; `file` is what needs it, if the log says."""

    name: str
    file: str

    @property
    def module(self) -> str:
        """The file's name without its path."""
        return self.file.replace("\\", "/").rpartition("/")[2]

    @property
    def of_torch(self) -> bool:
        return is_torch(self.name) or self.name.startswith(("_torch", "_ZTIN3c10", "_ZTVN3c10"))

    @property
    def string_abi(self) -> bool | None:
        """Whether it needs the C++11 std::string (True) or the older one (False); None where it has none."""
        if self.name.startswith(_ERROR_WITH_STRING) and not self.name.endswith("Ss"):
            return True
        return cxx11_strings([self.name])


def find_symbol(text: str, within: int) -> MissingSymbol | None:
    """The symbol that the line (the first `within` characters of the text) says is missing."""
    found = _MISSING.search(text)
    if not found or found.start() >= within:
        return None
    name = found["symbol"]
    name = "" if name.lower() in _NOT_A_SYMBOL or name.endswith((".so", ".py")) else name.rstrip(".")
    files = _FILE.findall(text[: found.start()])
    return MissingSymbol(name=name, file=files[-1].lstrip("[(`") if files else "")


def symbol_evidence(symbol: MissingSymbol, atlas: Atlas, loaded: Version | None, landmark: str = "") -> tuple[str, ...]:
    """What the atlas knows of a symbol of torch: its C++ name, the releases that export it, how they stand to ours.

    `landmark` is what a part of the name tells; it counts where no release exports the symbol as the log shows it.
    """
    if not symbol.name:
        return ("The log cuts off the name of the symbol: with the whole line its torch releases can be told.",)
    readable = demangle(symbol.name)
    lines = [f"{symbol.name} is {readable}"] if readable != symbol.name else []
    if not symbol.of_torch:
        return tuple(lines)
    exporters = atlas.exported_by(symbol.name)
    built = atlas.built_for(exporters, installed=loaded)
    if exporters:
        lines.append(f"{symbol.module or 'The file that needs it'} was {built}.")
        lines.append(f"torch releases that export the symbol: {', '.join(map(str, exporters))}.")
    elif landmark:
        lines.append(landmark)
    else:
        lines.append(f"No release of torch that was read exports it: {built.span}.")
    return tuple(lines)
