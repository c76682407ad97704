"""Logs: one JSON object a line, and never what a frame holds.

In a process of its own, as loggers are global.
"""

import json
import subprocess
import sys

import pytest

START = """
import logging, structlog
from embedsvc import logs
from embedsvc.config import LogSettings
logs.configure(LogSettings())
def fail(text):
    raise ZeroDivisionError("something of ours")
"""


def events_of(program):
    """What a program logs."""
    ran = subprocess.run([sys.executable, "-c", START + program], capture_output=True, text=True, check=True)
    assert not ran.stdout
    return [json.loads(line) for line in ran.stderr.splitlines()]


@pytest.mark.parametrize("logger", ["structlog.get_logger()", 'logging.getLogger("a library")'])
def test_a_traceback_has_its_frames_but_not_their_variables(logger):
    (event,) = events_of(f"""
try:
    fail("a private " + "text")
except ZeroDivisionError:
    {logger}.exception("failed")
""")
    assert "a private text" not in json.dumps(event)
    (shown,) = event["exception"]
    assert shown["exc_type"] == "ZeroDivisionError"
    assert shown["frames"][-1]["name"] == "fail"


def test_every_line_is_an_object():
    events = events_of("""
structlog.get_logger().info("one", key="x")
logging.getLogger("a library").warning("two %s", "words")
""")
    assert [event["event"] for event in events] == ["one", "two words"]


def test_lines_name_their_process_where_there_are_several():
    events = events_of("""
structlog.get_logger().info("one")
logs.configure(LogSettings(), process=2)
structlog.get_logger().info("two")
logging.getLogger("a library").warning("three")
""")
    assert [event.get("process") for event in events] == [None, 2, 2]
