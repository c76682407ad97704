"""What turns a checkout into a running service on one machine. Nothing here runs in production."""
