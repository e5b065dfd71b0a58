"""The doctor's rounds: reports of many nodes, gathered through an engine that is there already, and compared."""
