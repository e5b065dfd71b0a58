"""The rules of `doctor preflight`, by theme; the modules are found by listing this folder."""
