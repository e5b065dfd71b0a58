"""Error texts to causes: `explain(stream, facts, environment)` reads a log of any size once, in bounded memory."""

from flash_doctor.explain.answer import explain

__all__ = ["explain"]
