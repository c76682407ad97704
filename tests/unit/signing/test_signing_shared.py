"""signing.shared: processes of one machine accept each nonce once between them, and after a restart too."""

import multiprocessing
import os
import signal
from collections import Counter

import pytest

from embedsvc.errors import OverloadedError, UnauthenticatedError
from embedsvc.signing.nonces import Nonces, use_of
from embedsvc.signing.shared import RECORD, SPAN_SECONDS, SharedNonces

NOW = 60_000
OLDEST = NOW - 300
PROCESSES, NONCES = 3, 2000


def use(nonce, time=NOW):
    return use_of("billing", str(nonce), time)


@pytest.fixture
def opened(tmp_path):
    """Make what a process has of the folder."""
    return lambda capacity=10_000: SharedNonces(Nonces(capacity), tmp_path)


def is_accepted(nonces, one, oldest=OLDEST):
    try:
        nonces.take(one, oldest)
    except UnauthenticatedError:
        return False
    return True


def sizes(folder):
    return {int(path.stem): path.stat().st_size for path in folder.glob("*.nonces")}


def test_a_nonce_is_accepted_once_by_whichever_process(opened):
    one, other = opened(), opened()
    assert [is_accepted(one, use("a")), is_accepted(other, use("a"))] == [True, False]
    assert [is_accepted(other, use("b")), is_accepted(one, use("b"))] == [True, False]
    assert [is_accepted(one, use("c", NOW + 100)), is_accepted(other, use("c", NOW + 100))] == [True, False]


def test_a_process_that_is_started_anew_knows_what_was_accepted(opened):
    assert is_accepted(opened(), use("a"))
    assert not is_accepted(opened(), use("a"))


def test_a_replay_writes_nothing(opened, tmp_path):
    nonces = opened()
    assert is_accepted(nonces, use("a"))
    for _ in range(100):
        assert not is_accepted(nonces, use("a"))
        assert not is_accepted(opened(), use("a"))
    assert sizes(tmp_path) == {NOW // SPAN_SECONDS: RECORD.size}


def test_nor_does_a_full_memory_which_counts_what_all_have_accepted(opened, tmp_path):
    one, other = opened(2), opened(2)
    assert is_accepted(one, use("a"))
    assert is_accepted(other, use("b"))
    for nonces in (one, other):
        with pytest.raises(OverloadedError):
            nonces.take(use("c"), OLDEST)
    assert sizes(tmp_path) == {NOW // SPAN_SECONDS: 2 * RECORD.size}


def test_upkeep_learns_and_removes_what_is_of_no_use_any_more(opened, tmp_path):
    one, other = opened(), opened()
    for number in range(10):
        assert is_accepted(one, use(number, NOW + SPAN_SECONDS * number))
    other.upkeep(OLDEST)
    assert sum(other._read.values()) == 10 * RECORD.size
    oldest = NOW + 5 * SPAN_SECONDS
    for nonces in (one, other):
        nonces.upkeep(oldest)
    assert sorted(sizes(tmp_path)) == [oldest // SPAN_SECONDS + number for number in range(5)]
    assert not is_accepted(other, use(5, NOW + 5 * SPAN_SECONDS), oldest)


def test_a_file_is_kept_until_the_last_of_its_signatures_is_too_old(opened, tmp_path):
    nonces = opened()
    last = (NOW // SPAN_SECONDS + 1) * SPAN_SECONDS - 1
    assert is_accepted(nonces, use("a", last))
    opened().upkeep(last)
    assert sizes(tmp_path)
    opened().upkeep(last + 1)
    assert not sizes(tmp_path)


def test_the_log_is_for_its_owner_alone_and_has_no_names(opened, tmp_path):
    is_accepted(opened(), use("a-nonce"))
    [path] = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    assert b"billing" not in content
    assert b"a-nonce" not in content


def test_a_folder_that_is_away_lets_nobody_in(tmp_path):
    nonces = SharedNonces(Nonces(10), tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        nonces.take(use("a"), OLDEST)


def race(folder, begin, accepted):
    """Run in a process of its own: try every nonce."""
    nonces = SharedNonces(Nonces(NONCES), folder)
    begin.wait()
    accepted.put([number for number in range(NONCES) if is_accepted(nonces, use(number))])


def test_processes_that_race_accept_each_nonce_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    begin, accepted = spawn.Barrier(PROCESSES), spawn.Queue()
    processes = [spawn.Process(target=race, args=(tmp_path, begin, accepted)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    found = [accepted.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert Counter(number for numbers in found for number in numbers) == Counter(range(NONCES))


def accept_until_killed(folder, told):
    """Run in a process of its own."""
    nonces = SharedNonces(Nonces(1_000_000), folder)
    for number in range(1_000_000):
        nonces.take(use(number), OLDEST)
        os.write(told.fileno(), b".")


def test_what_a_killed_process_has_accepted_is_accepted_by_no_other(tmp_path, opened):
    spawn = multiprocessing.get_context("spawn")
    hear, tell = spawn.Pipe(duplex=False)
    process = spawn.Process(target=accept_until_killed, args=(tmp_path, tell))
    process.start()
    tell.close()
    told = b""
    while len(told) < 1000:
        told += os.read(hear.fileno(), 4096)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while more := os.read(hear.fileno(), 1 << 20):
        told += more
    nonces = opened(1_000_000)
    assert not any(is_accepted(nonces, use(number)) for number in range(len(told)))
    assert is_accepted(nonces, use(len(told) + 1))
