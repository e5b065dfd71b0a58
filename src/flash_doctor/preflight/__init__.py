"""A training run foreseen: a configuration against the machine, the stack and the data, before it starts."""
