"""Values to text and JSON: pure, nothing is decided here."""
