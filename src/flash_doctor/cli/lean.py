"""Commands that start quickly: plain values of options are taken as they are.

typer 0.29 hands every value, even one that was not given, to pydantic: 70 ms and 15 MB for a few strings. Only what
is neither text, path nor flag goes that way here; older versions of typer are left as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from flash_doctor.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable


class _AsGiven:
    """Stands before typer's own conversion of one parameter, which `full` makes."""

    def __init__(self, kind: Any, full: Callable[[], Any]) -> None:
        self.kind, self.full = kind, full

    def __call__(self) -> _AsGiven:
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        single = isinstance(self.kind, type) and not param.multiple and param.nargs == 1
        if single and (value is None or isinstance(value, self.kind)):
            return value
        if single and self.kind is Path and isinstance(value, str):
            return Path(value)
        if self.kind == list[str] and value is None:
            return None
        if self.kind == list[str] and isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
            return list(value)
        return self.full().coerce(value, param=param, ctx=ctx)


def _lean(parameters: list[Any]) -> list[Any]:
    """The parameters with their conversion stood before, once."""
    for parameter in parameters:
        full = getattr(parameter, "get_runtime_param", None)
        if full and not isinstance(full, _AsGiven):
            parameter.get_runtime_param = _AsGiven(parameter.type_descriptor.annotation, full)
    return parameters


class LeanCommand(TyperCommand):
    """A command of ours; typer would turn Ctrl-C in it into a bare exit code, without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None

    def get_params(self, ctx: Any) -> list[Any]:
        return _lean(super().get_params(ctx))


class LeanGroup(TyperGroup):
    """The group of our commands, lean too: --help and --version are its parameters."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _lean(super().get_params(ctx))
