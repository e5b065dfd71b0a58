"""`fix`: plan, show, agree, fetch or build, stage, judge, swap, prove, keep or restore."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flash_doctor.errors import DoctorError, InstallFailed, Interrupted, NoPlanFound
from flash_doctor.install.build_step import build_wheel, settle_builds
from flash_doctor.install.choose_plan import Prescription
from flash_doctor.install.context import Practice, choose_installer
from flash_doctor.install.gather import Gatherer, pinned
from flash_doctor.install.judge import staged_faults
from flash_doctor.install.refuse import refuse
from flash_doctor.install.staging import stage, trespasses
from flash_doctor.install.summary import empty_sheet, sheet_of
from flash_doctor.install.target_state import TargetState, admitted, examine, note_owner, note_unfinished
from flash_doctor.install.transaction import Operation, Stopwatch
from flash_doctor.install.verify_result import NOT_RUN, library_of, prove
from flash_doctor.model.outcome import Outcome, State
from flash_doctor.resolve.goal import FLASH
from flash_doctor.resolve.steps import wheel_steps
from flash_doctor.system.signals import ending_by_exception, uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from packaging.version import Version

    from flash_doctor.install.installers import LocalWheel
    from flash_doctor.model import Target
    from flash_doctor.model.outcome import Sheet
    from flash_doctor.model.plan import Build, Install, Plan
    from flash_doctor.model.proof import Proof
    from flash_doctor.model.wheel import Wheel


def fix(target: Target, prescription: Prescription, practice: Practice) -> Outcome:
    """Treat the target.

    Raises:
        BadInput: it may not be changed, or the user did not agree.
        NoPlanFound: there is no plan.
        InstallFailed: nothing that was planned could be installed; the target is as before.
        Interrupted: the same, by the user.
    """
    try:
        with ending_by_exception(), admitted(target, practice.runner) as patient:
            note_owner(patient, practice.desk)
            practice.note_cache()
            if patient.recovered:
                practice.desk.note(f"an earlier fix had been cut off and was undone first: {patient.recovered}")
            return _Fix(patient, prescription, practice).run()
    except KeyboardInterrupt:
        message = "interrupted; the environment is as it was before"
        raise Interrupted(message) from None


def show(target: Target, prescription: Prescription, practice: Practice) -> Outcome:
    """What `fix` would do; nothing is locked, fetched or changed."""
    patient = examine(target, practice.runner)
    note_unfinished(patient.environment, practice.desk)
    note_owner(patient, practice.desk)
    practice.note_cache()
    return _Fix(patient, prescription, practice).show()


@dataclass
class _Fix:
    """One fix of one patient."""

    patient: TargetState
    prescription: Prescription
    practice: Practice
    clock: Stopwatch = field(default_factory=Stopwatch)
    refused: list[str] = field(default_factory=list)

    def show(self) -> Outcome:
        if why := self.prescription.fulfilled(self.patient, self.practice.facts):
            return self._nothing(why)
        plan = self._plan()
        return Outcome(state=State.SHOWN, sheet=self._sheet(plan))

    def run(self) -> Outcome:
        if why := self.prescription.fulfilled(self.patient, self.practice.facts):
            return self._nothing(why)
        plan = self._plan()
        errors: list[DoctorError] = []
        for attempt in attempts(plan, self.patient):
            try:
                outcome = self._attempt(attempt)
            except _Unfit as error:
                self._send_back(error)
                errors.append(error)
                continue
            except OSError as error:
                message = "a file could not be written or unpacked; the environment is as it was before"
                raise InstallFailed(message, evidence=(str(error),), advice="Mend that, then try again.") from error
            return replace(outcome, refused=tuple(self.refused), seconds=dict(self.clock.seconds))
        raise _nothing_fits(self.refused, errors)

    def _nothing(self, why: tuple[str, ...]) -> Outcome:
        return Outcome(state=State.NOTHING, sheet=empty_sheet(self.patient), why=why)

    def _plan(self) -> Plan:
        with self.clock.stage("plan"):
            plan = self.prescription.plan(self.patient, self.practice.facts)
            plan = settle_builds(plan, self.patient, self.practice)
        if plan.manual:
            message = "the plan begins with something that only you can do"
            raise NoPlanFound(message, evidence=plan.manual, advice="Do that, then run `flash-doctor fix` again.")
        refuse(self.patient, [step.name for step in plan.steps], system=self.practice.options.system)
        return plan

    def _sheet(self, plan: Plan) -> Sheet:
        installer = choose_installer(self.practice.options.installer)
        return sheet_of(self.patient, plan, installer=installer.name, sources=self.practice.options.sources)

    def _attempt(self, plan: Plan) -> Outcome:
        """One candidate, from the question to the proof.

        Raises:
            _Unfit: it turned out not to be what it was taken for; the target is untouched.
        """
        sheet = self._sheet(plan)
        if not self.practice.desk.agree(sheet):
            message = "nothing was changed"
            raise Interrupted(message)
        with self._staging() as folder:
            wheels = self._gather(plan)
            names = [step.name for step in plan.steps]
            staged = self._stage(wheels, names, folder) if wheels else None
            settled = replace(plan, steps=pinned(plan.steps, wheels))
            operation = Operation(
                patient=self.patient,
                sheet=self._sheet(settled),
                names=names,
                staged=staged,
                options=self.practice.options,
                clock=self.clock,
                desk=self.practice.desk,
            )
            return operation.perform(lambda: self._prove(settled))

    @contextlib.contextmanager
    def _staging(self) -> Iterator[Path]:
        """A folder in the target's own file system, gone afterwards together with everything that was not used."""
        folder = self.patient.state / "staging"
        try:
            yield folder
        finally:
            with uninterrupted(), contextlib.suppress(OSError):
                shutil.rmtree(folder, ignore_errors=True)
                self.patient.state.rmdir()

    def _gather(self, plan: Plan) -> tuple[LocalWheel, ...]:
        gatherer = Gatherer(patient=self.patient, practice=self.practice, build=self._build)
        with self.clock.stage("fetch"):
            try:
                return gatherer.gather(plan.steps)
            except DoctorError as error:
                raise _unfit_if_replaceable(error) from error

    def _build(self, step: Build) -> LocalWheel:
        return build_wheel(step, self.patient, self.practice)

    def _stage(self, wheels: Sequence[LocalWheel], names: Sequence[str], folder: Path) -> Path:
        """Unpacked, and judged to work in this target and to leave alone what is not its own."""
        patient = self.patient
        installer = choose_installer(self.practice.options.installer)
        with self.clock.stage("stage"), self.practice.desk.working("unpacking"):
            try:
                staged = stage(wheels, folder, patient.target, installer, self.practice.runner)
            except InstallFailed as error:
                raise _Unfit(error.message, evidence=error.evidence) from error
        with self.clock.stage("judge"):
            removed, others = patient.parted(names)
            lost = trespasses(staged, removed=removed, others=others, site=patient.site, prefix=patient.prefix)
            _demand_none(lost, f"{wheels[0].path.name} cannot be put into this environment")
            faults = staged_faults(staged, patient, self.practice.facts)
            _demand_none(faults, f"{wheels[0].path.name} is not what it was taken for")
        return staged

    def _send_back(self, error: _Unfit) -> None:
        text = "; ".join((error.message, *error.evidence[:3]))
        self.refused.append(text)
        self.practice.desk.note(f"refused: {text}")

    def _prove(self, plan: Plan) -> Proof:
        name = library_of(step.name for step in plan.steps)
        if name is None:
            return NOT_RUN
        with self.practice.desk.working(f"proving {name}") as tick:
            practice, version = self.practice, _version(plan, name)
            new_torch = any(step.name == "torch" for step in plan.steps)
            given = (name, version, self.patient, practice.options, practice.facts, practice.runner, tick)
            return prove(*given, new_torch=new_torch)


class _Unfit(InstallFailed):
    """What was fetched cannot be installed here; another candidate may do."""


def _demand_none(faults: Sequence[str], message: str) -> None:
    if faults:
        raise _Unfit(message, evidence=faults)


def attempts(plan: Plan, patient: TargetState) -> Iterator[Plan]:
    """The plan, then the same with each of the runners-up in the place of its wheel."""
    yield plan
    others = [step for step in plan.steps if step.name not in FLASH]
    for wheel in plan.candidates:
        if wheel.url is not None:
            yield replace(plan, steps=(*_replacement(wheel, patient), *others), because=(_because(wheel),))


def _replacement(wheel: Wheel, patient: TargetState) -> tuple[Install, ...]:
    return wheel_steps(wheel, patient.environment)[:1]


def _because(wheel: Wheel) -> str:
    return f"the next best wheel: {wheel.filename}, published by {wheel.family.publisher}"


def _unfit_if_replaceable(error: DoctorError) -> DoctorError:
    """A missing or wrong file says something about that wheel; a network that is down, or a full disk, does not."""
    from flash_doctor.system.download import HashMismatch
    from flash_doctor.system.http import HttpError

    gone = isinstance(error, HttpError) and error.status is not None
    if gone or isinstance(error, HashMismatch):
        return _Unfit(error.message, evidence=error.evidence, advice=error.advice)
    if isinstance(error, HttpError):
        return InstallFailed(error.message, evidence=error.evidence, advice=error.advice or "Check the network.")
    return error


def _nothing_fits(refused: Sequence[str], errors: Sequence[DoctorError]) -> InstallFailed:
    message = "nothing that was planned could be installed; the environment is as it was before"
    advice = errors[-1].advice or "`flash-doctor plan` shows the other ways"
    return InstallFailed(message, evidence=refused, advice=advice)


def _version(plan: Plan, name: str) -> Version | None:
    """The version that a step installs, where it says so."""
    return next(step for step in plan.steps if step.name == name).version
