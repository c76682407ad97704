"""API keys: made, written down by their digest, looked up, remembered."""
