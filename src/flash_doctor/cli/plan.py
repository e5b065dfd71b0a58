"""`flash-doctor plan`: the smallest change that makes flash-attention work here, or on a machine that is described."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.cli import plan_options as opt
from flash_doctor.cli.errors import emit, read_file, write_file
from flash_doctor.cli.options import JsonOption, PythonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.cli.typed import python_of, typed_lines
from flash_doctor.errors import HEALTHY, NO_PLAN, BadInput
from flash_doctor.system.paths import program
from flash_doctor.system.redact import Hide, Redacted, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flash_doctor.facts import Facts
    from flash_doctor.facts.stacks import Stack
    from flash_doctor.install.plan_command import PlannedMachine
    from flash_doctor.model import Goal
    from flash_doctor.model.plan import Consultation
    from flash_doctor.resolve.index_query import Lookup


@dataclass(frozen=True)
class DescribedMachine:
    """The machine in words; what was left out does not constrain."""

    gpu: str | None
    driver: str | None
    torch: str | None
    python_version: str | None
    glibc: str | None
    machine: str | None

    def words(self) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Machines:
    """The ways to say for which machine; only one of them may be used."""

    python: str | None
    recorded: Path | None
    described: DescribedMachine


@dataclass(frozen=True)
class TypedGoal:
    """The goal as it was typed."""

    want: tuple[str, ...]
    keep: tuple[str, ...]
    allow: tuple[str, ...]
    stack: str | None


def command(
    python: PythonOption = None,
    recorded: opt.RecordedOption = None,
    gpu: opt.GpuOption = None,
    driver: opt.DriverOption = None,
    torch: opt.TorchOption = None,
    python_version: opt.PythonVersionOption = None,
    glibc: opt.GlibcOption = None,
    machine: opt.MachineOption = None,
    want: opt.WantOption = None,
    keep: opt.KeepOption = None,
    allow: opt.AllowOption = None,
    stack: opt.StackOption = None,
    wheelhouse: opt.WheelhouseOption = None,
    offline: opt.OfflineOption = False,
    why: opt.WhyOption = None,
    every: opt.AllOption = False,
    form: opt.FormatOption = opt.Format.TABLE,
    as_json: JsonOption = False,
    output: opt.InsteadOption = None,
) -> int:
    """Say which wheel to install, and what else must change.

    Nothing is changed. Without --offline the package index is asked for what the wheel needs. What is left out of a
    described machine rules nothing out, and the plan says so. Ends with 3 when nothing fits.
    """
    machines = Machines(python, recorded, DescribedMachine(gpu, driver, torch, python_version, glibc, machine))
    goal = TypedGoal(words_of(want), words_of(keep), words_of(allow), stack)
    consultation = answer(machines, goal, wheelhouse=wheelhouse, offline=offline, why=why)
    text = _write(opt.Format.JSON if as_json else form, consultation, every=every)
    emit(text) if output is None else write_file(output, text)
    return _exit_code(consultation)


def answer(
    machines: Machines, wanted: TypedGoal, *, wheelhouse: Path | None, offline: bool, why: str | None
) -> Consultation:
    """What is prescribed for a machine and a goal, as the command line says them."""
    from flash_doctor.cli.machines import known_wheels, overlay
    from flash_doctor.facts import Facts
    from flash_doctor.install.plan_command import Request, consult

    facts = Facts()
    known = cache(partial(known_wheels, facts))
    stack = _stack(wanted.stack, facts)
    request = Request(
        goal=_goal(wanted, stack),
        command=_asked(machines, wanted, wheelhouse),
        overlay=overlay(),
        known=known,
        stack=stack,
        wheelhouse=wheelhouse,
        offline=offline,
        why=why,
        lookup=partial(find_lookup, wheelhouse),
    )
    return consult(request, _scene(machines, facts, known), facts)


def words_of(given: list[str] | None) -> tuple[str, ...]:
    """`--allow torch,build` and `--allow torch --allow build` alike; a comma between version clauses stays."""
    found: list[str] = []
    for text in given or ():
        for word in text.split(","):
            if found and word.strip()[:1] in {"<", ">", "=", "!", "~"}:
                found[-1] += f",{word.strip()}"
            else:
                found.append(word.strip())
    return tuple(filter(None, found))


def _stack(name: str | None, facts: Facts) -> Stack | None:
    if name is None:
        return None
    from flash_doctor.facts.stacks import find

    return find(facts.stacks, name)


def _goal(given: TypedGoal, stack: Stack | None) -> Goal:
    """The goal in the words of the command line.

    Raises:
        BadInput: it contradicts itself.
    """
    from flash_doctor.model import Goal

    want, keep, allow = given.want, given.keep, given.allow
    if stack is not None and want:
        message = "--stack says what is wanted: leave out --want"
        raise BadInput(message)
    if "torch" in keep and ({"torch", "cuda"} & set(allow) or any(_is_torch(word) for word in want)):
        message = "torch is to be kept and to be changed"
        raise BadInput(message, advice="Leave out --keep torch, or what changes it: --allow torch, --want torch.")
    wanted = tuple(_of_stack(stack)) if stack else want
    return Goal(wanted=wanted or Goal().wanted, keep=keep or Goal().keep, allow=allow)


def _is_torch(word: str) -> bool:
    return word.partition("=")[0].rstrip("<>!~= ").strip() == "torch"


def _of_stack(stack: Stack) -> Iterable[str]:
    """Torch with the stack's CUDA, and its FlashAttention."""
    torch, flash = stack.requirement("torch"), stack.requirement("flash-attn")
    if torch is None:
        message = f"the stack {stack.name} names no torch"
        raise BadInput(message, advice="`flash-doctor stacks list` says which stacks there are.")
    exact = torch.startswith("torch==") and "," not in torch and stack.cuda and "+" not in torch
    yield f"{torch}+{stack.cuda}" if exact else torch
    if flash is not None:
        yield flash


def _scene(given: Machines, facts: Facts, meanwhile: Callable[[], object]) -> PlannedMachine:
    """This machine, the one in a report, or the one that is described.

    Raises:
        BadInput: more than one of them is meant, or one cannot be read.
    """
    from flash_doctor.cli.machines import described_scene, recorded_scene, scene_here

    python, recorded, words = given.python, given.recorded, given.described.words()
    if sum((bool(words), recorded is not None, python is not None)) > 1:
        message = "a described machine (--gpu, --torch ...), --for and --python exclude each other"
        raise BadInput(message)
    if recorded is not None:
        return recorded_scene(read_file(recorded), str(recorded), facts)
    return described_scene(words, facts) if words else scene_here(python, facts, meanwhile)


def _asked(machines: Machines, wanted: TypedGoal, wheelhouse: Path | None) -> tuple[str, ...]:
    """The command line again, to which the choice of an alternative is added."""
    recorded = str(machines.recorded) if machines.recorded else None
    said = {"python": machines.python, "for": recorded, **machines.described.words(), "stack": wanted.stack}
    said["wheelhouse"] = str(wheelhouse) if wheelhouse else None
    options = [(name.replace("_", "-"), value) for name, value in said.items() if value is not None]
    goal = {"want": wanted.want, "keep": wanted.keep, "allow": wanted.allow}
    options += [(name, value) for name, values in goal.items() for value in values]
    return (*program(os.environ), "plan", *(word for name, value in options for word in (f"--{name}", value)))


def find_lookup(wheelhouse: Path | None) -> Lookup | None:
    """Uv where it is there, else pip of our own interpreter."""
    import importlib.util

    from flash_doctor.resolve.sources.pip_index import PipLookup
    from flash_doctor.resolve.sources.uv_index import UvLookup, find_uv
    from flash_doctor.system.process import SystemRunner

    folders = (wheelhouse,) if wheelhouse else ()
    uv = find_uv()
    if uv is not None:
        return UvLookup(runner=SystemRunner(), uv=str(uv), find_links=folders)
    if importlib.util.find_spec("pip") is None:
        return None
    return PipLookup(runner=SystemRunner(), python=Path(sys.executable), find_links=folders)


def _exit_code(consultation: Consultation) -> int:
    from flash_doctor.model.plan import NoPlan

    return NO_PLAN if isinstance(consultation.answer, NoPlan) else HEALTHY


def _write(form: opt.Format, consultation: Consultation, *, every: bool) -> Redacted:
    if form is opt.Format.JSON:
        from flash_doctor.render.document import to_json
        from flash_doctor.render.plan_document import consultation_document

        return to_json(consultation_document(consultation, every=every))
    if form is opt.Format.TABLE:
        from flash_doctor.render.console import to_text
        from flash_doctor.render.plan import plan_lines

        return to_text(typed_lines(plan_lines(consultation, every=every), python_of(consultation.command)), sys.stdout)
    from flash_doctor.render.plan_files import WRITERS

    return redact(WRITERS[form.value](consultation), Hide.SECRETS)
