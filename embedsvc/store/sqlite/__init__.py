"""The store of one machine: a file of SQLite's."""
