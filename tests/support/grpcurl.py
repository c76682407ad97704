"""The real grpcurl, as an engineer calls it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.programs import BIN

if TYPE_CHECKING:
    from support.pki import State

SECONDS = 60


@dataclass(frozen=True)
class Grpcurl:
    """grpcurl with one address and one caller.

    Attributes:
        client: Whose certificate it shows; None: nobody's.
        key: Whether it sends the API key.
    """

    address: str
    state: State
    client: str | None = "client"
    key: bool = True

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Options, and then what comes after the address, in one string."""
        *options, target = arguments
        command = [BIN / "grpcurl", *self._caller(), *options, self.address, *str(target).split()]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)

    def told(self, *arguments: object) -> str:
        """What it prints, where all is well."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def call(self, method: str, *messages: object, options: tuple[str, ...] = ()) -> list[Any]:
        """Send messages; return the answers."""
        sent = ("-d", "".join(map(json.dumps, messages))) if messages else ()
        text, answers = self.told(*options, *sent, method).strip(), []
        while text:
            answer, end = json.JSONDecoder().raw_decode(text)
            answers.append(answer)
            text = text[end:].strip()
        return answers

    def _caller(self) -> list[str]:
        files = [("cacert", "ca.crt")]
        if self.client:
            files += [("cert", f"{self.client}.crt"), ("key", f"{self.client}.key")]
        certificates = [f"-{option}={self.state.path(file)}" for option, file in files]
        return [*certificates, *(("-H", f"authorization: Bearer {self.state.api_key}") if self.key else ())]
