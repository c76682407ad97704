"""Secrets: where they are kept, and how they stay fresh. Imports nothing of the service but its errors."""
