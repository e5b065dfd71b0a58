"""flash-doctor: says why torch, CUDA and flash-attn do not fit together, and what to change."""

__all__ = ["__version__"]

__version__ = "0.1.0"
