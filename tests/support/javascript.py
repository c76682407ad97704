"""The programs of tests/js, run as their users run them."""

import json
import subprocess

from support.programs import BIN, ROOT

TIMEOUT = 120


def run_node(name: str, task: dict[str, object]) -> object:
    """Give a program its task; return what it prints. It must say nothing of trouble."""
    done = subprocess.run(
        [BIN / "node", ROOT / "tests" / "js" / name],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)
