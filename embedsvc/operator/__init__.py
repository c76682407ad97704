"""What operators do from a shell: keys, usage."""
