"""An encoder that does what the first id of a text says: for tests of replicas in their own processes."""

import ctypes
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

RAISE, HANG, DIE, CRASH, EXHAUST, MISCOUNT, MUTTER, LOG, BREAK, SPAWN, LINGER = range(1000, 1011)


class ObedientEncoder:
    """Makes [first id, sum of ids, process id] of each text."""

    dimensions = 3
    padded = False

    def __init__(self, device="cpu"):
        self.device = device

    def encode(self, batch):
        for text in batch:
            self._obey(int(text[0]))
        rows = [[text[0], sum(text), os.getpid()] for text in batch]
        return np.array(rows[1:] if batch[0][0] == MISCOUNT else rows, dtype=np.float32)

    def _obey(self, command):
        match command:
            case 1000:
                raise ValueError("as it was told")
            case 1001:
                time.sleep(600)
            case 1002:
                os._exit(3)
            case 1003:
                ctypes.string_at(0)
            case 1004:
                raise MemoryError("CUDA out of memory")
            case 1006:
                sys.stderr.write("a library's warning\n")
            case 1007:
                structlog.get_logger().error("kernels are not compiled", shapes=3)

            case 1010:
                time.sleep(0.3)
            case 1009:
                subprocess.Popen(["sleep", "600"])

    def gpu_memory(self):
        return 7_000_000_000 if self.device.startswith("cuda") else None


class Broken(ObedientEncoder):
    """Fails every text from the first on that tells it to."""

    broken = False

    def encode(self, batch):
        self.broken = self.broken or batch[0][0] == BREAK
        if self.broken:
            raise RuntimeError("an illegal memory access was encountered")
        return super().encode(batch)


class LanedEncoder(ObedientEncoder):
    """The same, with two batches side by side; [first id, sum of ids, 0] where nothing is beside one."""

    lanes, worth_all = 2, 1

    def encode(self, batch):
        return super().encode(batch) * [1, 1, 0]

    def encode_in_lane(self, batch):
        return super().encode(batch)


class DeepEncoder(ObedientEncoder):
    """The same, with two batches under way."""

    depth = 2

    def launch(self, batch):
        if batch[0][0] == RAISE:
            raise ValueError("at the launch")
        return lambda: self.encode(batch)


@dataclass(frozen=True)
class Unless:
    """Builds an encoder unless a file is there; then fails, or makes one that fails its warm-up."""

    path: Path

    def __call__(self, device):
        if self.path.exists():
            raise OSError(f"{self.path.read_text()} is wrong with the weights")
        return ObedientEncoder(device)
