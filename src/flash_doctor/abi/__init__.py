"""Pure readers of binaries: nothing is loaded, nothing is run."""
