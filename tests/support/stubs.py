"""Stubs as another team makes them, in a folder of its own, and the examples that call with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.programs import BIN, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from support.pki import State

EXAMPLES = ROOT / "examples"
NODE_MODULES = EXAMPLES / "typescript" / "node_modules"


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a program that finds ours and Node's before all others; return what it prints."""
    path = os.pathsep.join(map(str, (NODE_MODULES / ".bin", BIN, os.environ["PATH"])))
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PATH": path} | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def generate(language: str, folder: Path, **environment: str) -> Path:
    """Do what `make stubs` does, elsewhere; return the folder of the language."""
    run(BIN / "buf", "generate", "--template", f"buf.gen.{language}.yaml", "--output", folder, **environment)
    return folder / "gen" / language


@dataclass(frozen=True)
class Caller:
    """A program of examples/, with stubs of its own."""

    command: tuple[str | Path, ...]
    folder: Path
    environment: dict[str, str]

    def call(self, target: str, state: State) -> list[tuple[str, object]]:
        """Call a server; return what was printed of each answer, by its name."""
        key = self.folder / "api_key"
        key.write_text(state.api_key)
        options = ("--target", target, "--certificates", state.folder, "--key", key)
        printed = run(*self.command, *options, cwd=self.folder, **self.environment)
        return [next(iter(json.loads(line).items())) for line in printed.splitlines()]


def python(folder: Path) -> Caller:
    """The example for asyncio; -S, since this repository's own package would hide the generated one."""
    path = os.pathsep.join(map(str, (generate("python", folder), sysconfig.get_path("platlib"))))
    return Caller((BIN / "python", "-S", EXAMPLES / "python" / "main.py"), folder, {"PYTHONPATH": path})


def typescript(folder: Path) -> Caller:
    """The example for Node, copied as a team would."""
    generate("typescript", folder)
    for file in ("client.ts", "main.ts", "package.json", "tsconfig.json"):
        shutil.copy(EXAMPLES / "typescript" / file, folder)
    (folder / "node_modules").symlink_to(NODE_MODULES)
    return Caller((BIN / "node", "main.ts"), folder, {})
