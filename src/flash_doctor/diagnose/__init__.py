"""The rules, by theme; `diagnose` applies them."""
