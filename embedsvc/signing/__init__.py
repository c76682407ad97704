"""Signed requests between services: what is signed, who signs, and who verifies. See docs/signing.md."""
