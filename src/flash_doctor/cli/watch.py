"""`flash-doctor watch`: follow a running training and its disk, and say when something goes wrong."""

from __future__ import annotations

import select
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flash_doctor.cli.errors import emit
from flash_doctor.cli.typed import typed_lines
from flash_doctor.errors import INTERRUPTED, BadInput

if TYPE_CHECKING:
    from flash_doctor.model.watch import WatchEvent
    from flash_doctor.watch.end_of_run import WatchOptions
    from flash_doctor.watch.session import Watch

LEAST_EVERY = 0.05  # seconds: less would only heat the machine
MAX_SECONDS = 7 * 24 * 3600.0


def command(
    paths: Annotated[list[str], typer.Argument(metavar="DIR|LOG...", help="The run's output folder, a log, or both.")],
    every: Annotated[str, typer.Option("--every", metavar="SECONDS", help="Time between two looks.")] = "5",
    max_disk: Annotated[
        str, typer.Option("--max-disk", metavar="PERCENT", help="The used share of the disk that is red.")
    ] = "",
    idle: Annotated[
        str,
        typer.Option("--idle", metavar="SECONDS", help="Without anything new for so long, the run is taken as ended."),
    ] = "3600",
    once: Annotated[bool, typer.Option("--once", help="Judge what is there now, and end.")] = False,
    until_red: Annotated[bool, typer.Option("--until-red", help="End at the first error, with exit code 1.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of text.")] = False,
) -> int:
    """Follow a training run and say when it goes wrong.

    Reads trainer_state.json, logs and metrics (JSON lines) as they grow, and how full the disk is. Each event is one
    line. It ends with the run: by its final metrics, when its process has gone, or when nothing new has come for
    long. Nothing is run and nothing is changed. Ends with 1 after an error, 6 where no metrics were found.
    """
    from flash_doctor.facts import Facts
    from flash_doctor.watch.clock import SystemClock
    from flash_doctor.watch.end_of_run import WatchOptions
    from flash_doctor.watch.session import Watch

    facts = Facts().watch
    options = WatchOptions(
        every=_seconds("--every", every, LEAST_EVERY),
        red=_share(max_disk) if max_disk else facts.disk.red,
        idle=_seconds("--idle", idle, 0.0),
        once=once,
        until_red=until_red,
    )
    watch = Watch(paths=[_subject(path, options) for path in paths], facts=facts, options=options, world=SystemClock())
    return follow(watch, as_json=as_json)


def follow(watch: Watch, *, as_json: bool) -> int:
    """Tell the events as they come; Ctrl-C ends with a last one."""
    from flash_doctor.model.watch import Moment
    from flash_doctor.watch.end_of_run import End

    try:
        for event in watch.events(is_wanted=_has_reader):
            _tell(event, watch.exit_code if event.moment is Moment.ENDED else None, as_json)
    except KeyboardInterrupt:
        _tell(watch.ended(End.STOPPED), INTERRUPTED, as_json)
        return INTERRUPTED
    return watch.exit_code


def _tell(event: WatchEvent, exit_code: int | None, as_json: bool) -> None:
    if as_json:
        from flash_doctor.render.document import to_json
        from flash_doctor.render.watch import event_document

        emit(to_json(event_document(event, exit_code)))
        return
    from flash_doctor.render.console import to_text
    from flash_doctor.render.watch import event_line

    emit(to_text(typed_lines([event_line(event)]), sys.stdout))


def _has_reader() -> bool:
    """Whether what is printed can still be read: `| head` closes the pipe, and watching on would be for nobody."""
    if not sys.stdout or sys.stdout.closed:
        return False
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    return not any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def _subject(text: str, options: WatchOptions) -> Path:
    """A folder or regular file; one that is not there yet is waited for, but not with --once."""
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not options.once:
            return path
        message = f"{text} does not exist"
        raise BadInput(message, advice="name the run's output folder or its log") from None
    except (OSError, ValueError) as error:
        message = f"{text!r} cannot be looked at"
        raise BadInput(message, evidence=(str(error),), advice="name the run's output folder or its log") from error
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return path
    message = f"{text} is neither a folder nor a regular file"
    raise BadInput(message, advice="write the log to a file: python train.py 2>&1 | tee train.log")


def _seconds(option: str, text: str, least: float) -> float:
    return _number(option, text, text, least, MAX_SECONDS, "seconds")


def _share(text: str) -> float:
    """80%, 80 or 0.8 as 0.8."""
    percent = text.endswith("%")
    number = _number("--max-disk", text, text.removesuffix("%"), 0.0, 100.0, "a share of the disk")
    share = number / 100 if percent or number > 1 else number
    if not 0 < share < 1:
        message = f"--max-disk: {text!r} must lie between 0 and 100 %"
        raise BadInput(message, advice="write it as in --max-disk 80%")
    return share


def _number(option: str, given: str, text: str, least: float, most: float, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if least <= number <= most:
        return number
    message = f"{option}: {given!r} must be {unit}, from {least:g} to {most:g}"
    raise BadInput(message, advice=f"write it as in {option} {'80%' if option == '--max-disk' else '10'}")
