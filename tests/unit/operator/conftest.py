"""A shell for each test, without the variables of whoever runs it."""

import os

import pytest
from shell import Shell

from embedsvc import cli


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    for name in os.environ:
        if name.startswith("EMBEDSVC_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    # It would leave every logger of this process with a standard error that ends with the test.
    monkeypatch.setattr(cli.logs, "configure", lambda _settings: None)
    return Shell(tmp_path, capsys)
