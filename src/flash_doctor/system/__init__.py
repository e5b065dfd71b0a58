"""Doors to the outside, and what proves that a stranger's word may be believed."""
