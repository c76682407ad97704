"""Programs as processes of their own: started, waited for, measured, stopped."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from model import ROOT

START_SECONDS = 240
STOP_SECONDS = 40

Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Program:
    """A process, and the file that its output goes to."""

    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def running(command: Command, log: Path, environment: Mapping[str, str]) -> Iterator[Program]:
    """Run a program until the context ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stdout=output, stderr=output
        )
    try:
        yield Program(process, log)
    finally:
        _stop(process)


def free_ports(*names: str) -> dict[str, int]:
    """Ports that nobody listens on, all different since all are held until the last is found."""
    with ExitStack() as stack:
        probes = {name: stack.enter_context(closing(socket.socket())) for name in names}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in probes.items()}


def wait_until_ready(url: str, *programs: Program) -> None:
    """Wait until a page is answered with 200.

    Raises:
        RuntimeError: One of the programs behind it is gone, or it takes too long; the message has its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        for program in programs:
            if program.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program.log.stem} did not start:\n{program.log.read_text()}")
        time.sleep(0.1)


def cpu_seconds(programs: Sequence[Program]) -> float:
    """Processor time that programs and the processes which they started have used until now."""
    roots = [psutil.Process(program.process.pid) for program in programs if program.process.poll() is None]
    family = [*roots, *(child for root in roots for child in root.children(recursive=True))]
    return sum(map(_cpu_seconds, family))


def machine_cpu_seconds() -> float:
    """Processor time that is gone on this machine until now, by whomever: its host's other machines, too."""
    times = psutil.cpu_times()._asdict()
    idle = ("idle", "iowait", "guest", "guest_nice")  # the guests' time is in the others, too
    return float(sum(seconds for name, seconds in times.items() if name not in idle))


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return 0.0
    return float(times.user + times.system)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
