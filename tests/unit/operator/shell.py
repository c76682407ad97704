"""An operator's shell: commands run in process, on a store of their own that can be looked at."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from embedsvc import cli
from embedsvc.keys import token
from embedsvc.store.records import KeyRecord
from embedsvc.store.sqlite.store import open_sqlite

DAY = 86_400


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Shell:
    """Runs `embedsvc` with a configuration of its own."""

    def __init__(self, folder, capsys):
        self.folder = folder
        self.store = folder / "state" / "embedsvc.db"
        self.config = folder / "embedsvc.toml"
        self.config.write_text(f'store.path = "{self.store}"\n')
        self._capsys = capsys
        assert self.keys == []  # and so the file is there

    def __call__(self, *arguments, status=0):
        """Run a command that ends with some status."""
        ended = cli.run(["--config", str(self.config), *map(str, arguments)])
        told = self._capsys.readouterr()
        assert ended == status, told.err
        return Ran(ended, told.out, told.err)

    def ask(self, call):
        """Call the store."""

        async def run():
            async with open_sqlite(self.store) as store:
                return await call(store)

        return asyncio.run(run())

    @property
    def keys(self) -> Sequence[KeyRecord]:
        """What is kept of all keys, the oldest first."""
        return self.ask(lambda store: store.list_keys())

    def add(self, name="alice", age=0.0, **fields):
        """Keep a key that is so many days old; return it, and what is kept of it."""
        key = token.generate()
        made = KeyRecord(token.digest(key), token.prefix(key), name, created_at=time.time() - age * DAY)
        record = replace(made, **fields)
        self.ask(lambda store: store.create_key(record))
        return key, record
