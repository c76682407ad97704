"""Vectors of texts that were seen before, in memory and in a level that outlives it."""
