"""Reading what the rules judge: data files, model folders, the machine. Nothing here decides anything."""
