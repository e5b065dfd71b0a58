"""A training run foreseen (`judge.preflight`, with `gather` and `stage` setting the scene) and followed (`watch`)."""
