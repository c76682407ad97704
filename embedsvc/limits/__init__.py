"""How much a caller may have: limits that servers share, leased from the store in blocks."""
