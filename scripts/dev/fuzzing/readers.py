"""The registry, complete: importing this module registers every reader."""

from __future__ import annotations

from fuzzing import of_binaries, of_documents, of_machines, of_texts, of_training
from fuzzing.registry import READERS, Reader

__all__ = ["READERS", "Reader", "of_binaries", "of_documents", "of_machines", "of_texts", "of_training"]
