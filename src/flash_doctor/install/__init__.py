"""The doors of change: staging, the journal, the swap. Whatever happens, the target ends as before, or as planned."""
