"""The command line: parse, stage, render, exit. A command's module is imported when that command is called."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor import __version__
from flash_doctor.cli.errors import emit, say, wants_json
from flash_doctor.cli.lean import LeanCommand, LeanGroup
from flash_doctor.errors import EXIT_CODES, BadInput
from flash_doctor.system.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

# command -> the module under flash_doctor.cli whose function `command` it is, or whose `GROUP` of commands
COMMANDS = {
    "check": "check",
    "explain": "explain",
    "run": "run",
    "abi": "abi",
    "plan": "plan",
    "fix": "fix",
    "verify": "verify",
    "rollback": "rollback",
    "bundle": "bundle",
    "preflight": "preflight",
    "watch": "watch",
    "stacks": "stacks",
    "lint-setup": "lint_setup",
    "matrix": "matrix",
    "fleet": "fleet",
}

# typer carries its own click since 0.29 and used the plain one before: both are reached this way
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_CODES = ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())


def main(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name and give its exit code.

    Raises:
        DoctorError: what the command could not do, for the boundary to tell.
    """
    try:
        code = app(_named(arguments))(args=list(arguments), prog_name="flash-doctor", standalone_mode=False)
    except _UsageError as error:
        return _usage(error, arguments)
    except typer.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0


def _named(arguments: Sequence[str]) -> tuple[str, ...]:
    """The one command that is called, or all of them where help or a misspelt name needs them."""
    word = next((argument for argument in arguments if not argument.startswith("-")), "")
    return (word,) if word in COMMANDS else tuple(COMMANDS)


def app(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The application with the commands of these names."""
    made = typer.Typer(
        name="flash-doctor",
        cls=LeanGroup,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=f"Exit codes: {_CODES}.",
    )
    made.callback()(_root)
    for name in names:
        module = import_module(f"flash_doctor.cli.{COMMANDS[name]}")
        if hasattr(module, "GROUP"):
            made.add_typer(_group(module), name=name)
        else:
            settings = getattr(module, "CONTEXT", None)  # `run` leaves its command's own options alone
            made.command(name, cls=LeanCommand, context_settings=settings)(module.command)
    return made


def _group(module: ModuleType) -> typer.Typer:
    """The commands of a module's GROUP (name -> function) under one word; the module's docstring is its help."""
    made = typer.Typer(cls=LeanGroup, no_args_is_help=True, rich_markup_mode=None, help=module.__doc__)
    for name, function in module.GROUP.items():
        made.command(name, cls=LeanCommand)(function)
    return made


def _version(wanted: bool) -> None:
    if wanted:
        emit(redact(f"flash-doctor {__version__}\n"))
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Say why torch, CUDA and flash-attn do not fit together on this machine, and what to change."""


def _usage(error: Exception, arguments: Sequence[str]) -> int:
    """A usage error, told by typer itself, or as our error document; help for no command at all."""
    if wants_json(arguments):
        raise BadInput(error.format_message(), advice="`flash-doctor --help` lists the commands and options")  # type: ignore[attr-defined]
    told = io.StringIO()
    error.show(file=told)  # type: ignore[attr-defined]
    say(redact(told.getvalue()))
    return BadInput.exit_code
