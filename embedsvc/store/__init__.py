"""What outlives a process: keys, limits, the ledger. SQLite by default, Convex for many replicas."""
