"""The commands: one module each, imported when its command is called (`app`), and what they share."""
