"""The same work for many items at once, in threads that nobody has to wait for."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from flash_doctor.errors import BadInput, CommandFailed
from flash_doctor.fleet.gather import NodeAnswer
from flash_doctor.fleet.reading import MAX_DOCUMENT
from flash_doctor.system.process import Command, Runner
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flash_doctor.fleet.gather import Errand


T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Sequence[T], *, limit: int, patience: float) -> Iterator[R]:
    """The results as they come, `limit` of the items at a time.

    Ends early where `patience` seconds bring no result. The threads are daemons, unlike those of an executor: an
    interrupted program ends at once.
    """
    waiting: SimpleQueue[T] = SimpleQueue()
    done: SimpleQueue[R] = SimpleQueue()
    for item in items:
        waiting.put(item)

    def worker() -> None:
        with suppress(Empty):
            while True:
                done.put(work(waiting.get_nowait()))

    for _ in range(min(limit, len(items))):
        Thread(target=worker, daemon=True).start()
    with suppress(Empty):
        for _ in items:
            yield done.get(timeout=patience)


PARALLEL = 64  # sruns at a time: each is a process of 10 MB here
START = 30.0  # seconds for Slurm to start a step on a node that is free
_ASK = 30.0
# what Slurm says of nodes on which nothing can run; a suffix tells more (* does not answer, ~ switched off ...)
_GONE = re.compile(
    r"(down|drained|draining|drng|drain|fail|failing|error|unknown|maint|reboot|power\w*|future|planned)"
)
_SILENT = re.compile(r"[*~#!%$@^]")

# Finds a Python of a version that the doctor needs, the one to be looked at first; a shell is on every node.
LAUNCH = """\
stub=$1 python=$2 mark=$3; shift 2
for each in ${python:+"$python/bin/python" "$python"} \
    python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
  if "$each" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' </dev/null >/dev/null 2>&1; then
    exec "$each" -I -c "$stub" "$@"
  fi
done
printf '\\n@@%s failed "no Python 3.10 or newer is on its PATH, name one with --python"\\n' "$mark"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm:
    """The nodes of an allocation, of `nodelist` (as in gpu[1-4]), or of the whole cluster."""

    runner: Runner
    environ: Mapping[str, str] = field(default_factory=dict)
    nodelist: str = ""
    parallel: int = PARALLEL

    @property
    def inside(self) -> bool:
        """Whether this runs in an allocation, whose resources the steps share."""
        return "SLURM_JOB_ID" in self.environ

    def answers(self, errand: Errand) -> Iterator[NodeAnswer]:
        """One for each node.

        Raises:
            BadInput: Slurm is not there, or knows no such nodes.
        """
        states = self.nodes()
        begun = time.time()
        live = [node for node, state in states.items() if not _unusable(state)]
        missing = {node: f"Slurm says that it is {states[node]}" for node in states.keys() - set(live)}
        missing |= dict.fromkeys(live, "srun was lost")
        ask = partial(self._ask, errand)
        for answer in each(ask, live, limit=self.parallel, patience=errand.timeout + START + 30):
            del missing[answer.node]
            yield answer
        for node, why in missing.items():
            yield NodeAnswer(node=node, sent=begun, received=time.time(), failure=why)

    def nodes(self) -> dict[str, str]:
        """Each node's name and state, in Slurm's words."""
        wanted = self.nodelist or self.environ.get("SLURM_JOB_NODELIST", "")
        names = self._lines("scontrol", "show", "hostnames", wanted) if wanted else []
        chosen = ("-n", ",".join(names)) if names else ()
        pairs = (line.split() for line in self._lines("sinfo", "-h", "-N", "-o", "%N %T", *chosen))
        states = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
        if not states and not names:
            message = "Slurm knows no nodes"
            raise BadInput(message, advice="look at sinfo")
        return {name: states.get(name, "unknown to this cluster") for name in names} if names else states

    def _lines(self, *argv: str) -> list[str]:
        try:
            done = self.runner.run(Command(argv=argv, timeout=_ASK))
        except CommandFailed as error:
            message = "Slurm does not answer"
            advice = "run this where srun and sinfo work, or gather reports in another way and use fleet compare"
            raise BadInput(message, evidence=(error.message,), advice=advice) from error
        if done.returncode:
            message = "Slurm does not know what was asked"
            raise BadInput(
                message, evidence=(f"{' '.join(argv)}: {cut(done.errors.strip(), 300)}",), advice="look at sinfo"
            )
        return done.text.split("\n")[:-1]

    def _ask(self, errand: Errand, node: str) -> NodeAnswer:
        command = Command(
            argv=(*self._srun(node, errand), "sh", "-c", LAUNCH, "sh", errand.stub, errand.python, *errand.arguments),
            timeout=errand.timeout + START,
            stdin=errand.shipment.data,
            limit=2 * MAX_DOCUMENT,
        )
        sent = time.time()
        try:
            done = self.runner.run(command)
        except CommandFailed as error:
            return NodeAnswer(node=node, sent=sent, received=time.time(), failure=error.message)
        too_much = f"it printed more than {command.limit >> 20} MiB" if done.truncated else ""
        failure = too_much or _last_words(done.errors) or f"it answered nothing (srun ended with {done.returncode})"
        return NodeAnswer(node=node, sent=sent, received=time.time(), output=done.text, failure=failure)

    def _srun(self, node: str, errand: Errand) -> tuple[str, ...]:
        minutes = 1 + int((errand.timeout + START) // 60)
        waiting = () if self.inside else (f"--immediate={int(START)}", f"--time={minutes}")
        return ("srun", "-N1", "-n1", "-w", node, "--overlap", "--quiet", "--chdir=/", *waiting)


def _unusable(state: str) -> bool:
    """Down, drained or silent; a node that is busy may still be asked."""
    return bool(_GONE.match(state) or _SILENT.search(state))


def _last_words(errors: str) -> str:
    """The last line that is not srun's or bash's own frame."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1].removeprefix("srun: error: ") if lines else ""
