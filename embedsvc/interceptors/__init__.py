"""The onion around every call; server.py puts the layers in order."""
