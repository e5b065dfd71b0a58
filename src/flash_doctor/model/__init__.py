"""The nouns: frozen values that flow through the stages. Imports packaging and nothing else of ours.

A name is imported from its module when it is first asked for: making the 40 classes takes 20 ms, and `check` starts
its children before it needs them (PEP 562). `model.plan`, `model.wheel`, `model.proof` and others are imported by their
own names.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flash_doctor.model.machine import (
        Capability as Capability,
        Cores as Cores,
        Driver as Driver,
        Gpu as Gpu,
        GpuProcess as GpuProcess,
        Gpus as Gpus,
        GpuSource as GpuSource,
        Habitat as Habitat,
        Host as Host,
        Libc as Libc,
        LoaderLibrary as LoaderLibrary,
        LoaderPath as LoaderPath,
        Memory as Memory,
        MigDevice as MigDevice,
        Tool as Tool,
        Toolchain as Toolchain,
        Toolkit as Toolkit,
        Volume as Volume,
        driver_number as driver_number,
    )
    from flash_doctor.model.part import Absent as Absent, Part as Part, Unknown as Unknown, known as known
    from flash_doctor.model.python import (
        BrokenMetadata as BrokenMetadata,
        FlashAttention as FlashAttention,
        FlashKind as FlashKind,
        FlashModule as FlashModule,
        Hider as Hider,
        IndexSetting as IndexSetting,
        OtherDoctor as OtherDoctor,
        Package as Package,
        Packages as Packages,
        Python as Python,
        PythonKind as PythonKind,
        RecordCheck as RecordCheck,
        RequirementLine as RequirementLine,
        Shadow as Shadow,
        Start as Start,
        Target as Target,
        Torch as Torch,
    )
    from flash_doctor.model.report import (
        Because as Because,
        CommandLine as CommandLine,
        Environment as Environment,
        Family as Family,
        Finding as Finding,
        Goal as Goal,
        Remedy as Remedy,
        Report as Report,
        Score as Score,
        Severity as Severity,
        Unchecked as Unchecked,
        Verdict as Verdict,
    )

# the small ones first: a name is looked for in each until it is found
_MODULES = ("part", "python", "machine", "report")


def __getattr__(name: str) -> object:
    """The class or function of that name, from whichever module has it."""
    for module in _MODULES:
        found = vars(import_module(f"flash_doctor.model.{module}")).get(name)
        if found is not None:
            globals()[name] = found
            return found
    message = f"flash_doctor.model has no {name}"
    raise AttributeError(message)
