"""The engine behind every rule: how one is registered, called and told, what explains what, and the score."""
