"""What was asked for, and by whom: written behind the callers' backs, never text, vectors or keys."""
