"""`python -m embedsvc`."""

import os
import sys

# Read when gRPC is imported. Its own lines are not JSON, and tell of every stranger at the handshake.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from embedsvc.cli import run


def main() -> None:
    """Run the command line, and leave with its exit status."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
