"""docs/configuration.md says what the settings are today."""

import subprocess
import sys

from support.programs import ROOT


def test_the_page_is_what_make_docs_writes():
    written = subprocess.run(
        [sys.executable, ROOT / "docs" / "configuration.py"], capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "configuration.md").read_text() == written, "run `make docs`"
