"""Reads the machine and the target."""
