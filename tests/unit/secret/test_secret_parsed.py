"""secret.parsed: what a secret means follows the secret, as long as that means something."""

import asyncio
import threading

import pytest

from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import Secret, open_secrets
from embedsvc.secret.parsed import LARGE_BYTES, Parsed
from embedsvc.secret.reference import SecretRef

REF = SecretRef("file", "numbers")


class Parser:
    """Reads a whole number, and counts how often it is asked to."""

    def __init__(self):
        self.calls = 0

    def __call__(self, content):
        self.calls += 1
        if not content.isdigit():
            raise ValueError("there is no number")
        return int(content)


@pytest.fixture
def parse():
    return Parser()


@pytest.fixture
def secret():
    return Secret(REF, b"1")


@pytest.fixture
def parsed(secret, parse):
    return Parsed("some.setting", secret, parse)


def test_it_is_parsed_once_however_often_it_is_asked_for(parsed, parse):
    assert [parsed.get() for _ in range(5)] == [1] * 5
    assert parse.calls == 1


def test_a_change_counts_from_the_next_question_on(parsed, secret, parse):
    secret.replace(b"2")
    assert [parsed.get() for _ in range(5)] == [2] * 5
    assert parse.calls == 2


def test_what_means_nothing_at_the_start_stops_the_start_and_names_setting_and_place(parse):
    with pytest.raises(ConfigurationError) as told:
        Parsed("some.setting", Secret(REF, b"one"), parse)
    assert str(told.value) == "some.setting (file:numbers): there is no number"


def test_a_change_that_means_nothing_keeps_what_was_before_and_is_told_of_once(parsed, secret, parse, logs):
    secret.replace(b"s3cret")
    assert [parsed.get() for _ in range(5)] == [1] * 5
    assert parse.calls == 2
    assert logs == [
        {
            "event": "a change does not parse; what was before holds",
            "setting": "some.setting",
            "error": "there is no number",
            "log_level": "warning",
        }
    ]


def test_each_change_that_means_nothing_is_told_of(parsed, secret, logs):
    for content in (b"s3cret one", b"s3cret two"):
        secret.replace(content)
        parsed.get()
    assert len(logs) == 2


def test_a_change_that_means_something_ends_it(parsed, secret):
    secret.replace(b"s3cret")
    parsed.get()
    secret.replace(b"3")
    assert parsed.get() == 3


def test_going_back_to_what_was_before_is_a_change_too(parsed, secret, parse):
    for content in (b"2", b"1"):
        secret.replace(content)
        parsed.get()
    assert (parsed.get(), parse.calls) == (1, 3)


def test_several_may_read_one_secret_each_in_its_way(secret, parse):
    number, text = Parsed("a", secret, parse), Parsed("b", secret, bytes.decode)
    secret.replace(b"7")
    assert (number.get(), text.get()) == (7, "7")


async def test_a_file_that_changes_is_parsed_anew(path, ref, rewrite, parse, changes):
    rewrite("41\n")
    async with open_secrets({"some.setting": ref}, changed=changes) as secrets:
        parsed = Parsed("some.setting", secrets["some.setting"], lambda content: parse(content.strip()))
        assert parsed.get() == 41
        rewrite("42\n")
        await changes.next()
        assert parsed.get() == 42


async def test_a_large_change_is_read_by_a_thread_and_nobody_waits_for_it(parsed, secret, parse):
    content = b"7" + b" " * LARGE_BYTES

    def slowly(content):
        assert threading.current_thread() is not threading.main_thread()
        return int(content)

    parsed._parse = slowly
    secret.replace(content)
    assert parsed.get() == 1
    async with asyncio.timeout(20):
        while parsed.get() != 7:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
