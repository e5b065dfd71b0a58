"""The parts of scripts/dev/fuzz.py: what is read, how it is changed, and under which limits."""
