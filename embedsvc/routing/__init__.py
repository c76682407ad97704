"""Which model answers: names, aliases, and the way from one model to another."""
