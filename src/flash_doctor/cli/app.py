"""The command line: parse, stage, render, exit. A command's module is imported when that command is called."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from flash_doctor import __version__
from flash_doctor.cli.errors import emit, say, wants_json
from flash_doctor.errors import EXIT_CODES, BadInput, Interrupted
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

# what the list of commands says of each: the first sentence of its own help, here so that no command is imported for it
SUMMARIES = {
    "check": "Say what is wrong here, and what to do.",
    "explain": "Say what an error text or a code means, and what to do.",
    "run": "Run a command unchanged; if it fails, say why.",
    "abi": "Say what a compiled extension or a wheel was built for.",
    "plan": "Say which wheel to install, and what else must change.",
    "fix": "Make flash-attention work and prove it, or change nothing.",
    "verify": "Prove that flash-attention computes right on every GPU.",
    "rollback": "Undo the last fix, to the last byte, from its journal.",
    "bundle": "Put everything that a plan installs into one folder.",
    "preflight": "Say what would go wrong in a training run, before it starts.",
    "watch": "Follow a training run and say when it goes wrong.",
    "stacks": "Show known sets of versions, and what is wrong in them.",
    "lint-setup": "Check the numbers of a folder of setup scripts.",
    "matrix": "The wheels that plans choose from: show, check, refresh.",
    "fleet": "Compare the nodes of a joint run, and name the odd ones.",
}

_CODES = ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())


class _Command(TyperCommand):
    """A command of ours; typer would turn Ctrl-C in it into a bare exit code, without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


def main(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name and give its exit code.

    Raises:
        DoctorError: what the command could not do, for the boundary to tell.
    """
    try:
        code = app(_named(arguments))(args=list(arguments), prog_name="flash-doctor", standalone_mode=False)
    except typer.TyperException as error:
        return _usage(error, arguments)
    except typer.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0


def _named(arguments: Sequence[str]) -> tuple[str, ...]:
    """The one command that is called; none where help or a misspelt name wants no more than their names."""
    word = next((argument for argument in arguments if not argument.startswith("-")), "")
    return (word,) if word in COMMANDS else ()


def app(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The application with the commands of these names; without any, with what the list says of each."""
    made = typer.Typer(
        name="flash-doctor",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=f"Exit codes: {_CODES}.",
    )
    made.callback()(_root)
    for name, summary in SUMMARIES.items() if not names else ():
        made.command(name, help=summary)(_listed)
    for name in names:
        module = import_module(f"flash_doctor.cli.{COMMANDS[name]}")
        if hasattr(module, "GROUP"):
            made.add_typer(_group(module), name=name)
        else:
            settings = getattr(module, "CONTEXT", None)  # `run` leaves its command's own options alone
            made.command(name, cls=_Command, context_settings=settings)(module.command)
    return made


def _listed() -> None:
    """Stands for a command in a list of them."""


def _group(module: ModuleType) -> typer.Typer:
    """The commands of a module's GROUP (name -> function) under one word; the module's docstring is its help."""
    made = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=module.__doc__)
    for name, function in module.GROUP.items():
        made.command(name, cls=_Command)(function)
    return made


def _version(wanted: bool) -> None:
    if wanted:
        emit(redact(f"flash-doctor {__version__}\n"))
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Say why torch, CUDA and flash-attn do not fit together on this machine, and what to change."""


def _usage(error: Any, arguments: Sequence[str]) -> int:
    """A usage error, told by typer itself, or as our error document; help for no command at all."""
    if wants_json(arguments):
        raise BadInput(error.format_message(), advice="`flash-doctor --help` lists the commands and options")
    told = io.StringIO()
    error.show(file=told)
    say(redact(told.getvalue()))
    return BadInput.exit_code
