"""Where wheels come from: the shipped matrix, a folder of wheels, an index."""
