"""operator.opening: a command has the store that the settings choose, and what is wrong with it in a line."""

import socket
import stat

import pytest

from embedsvc.config import Settings, StoreSettings
from embedsvc.errors import ConfigurationError
from embedsvc.operator.opening import opened_store
from embedsvc.secret.reference import SecretRef
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError


async def test_the_file_is_made_for_its_owner_alone(tmp_path):
    path = tmp_path / "state" / "x.db"
    async with opened_store(Settings(store=StoreSettings(path=path)), make=True) as store:
        assert list(await store.list_keys()) == []
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path)] == [0o700, 0o600]


@pytest.mark.parametrize("error", [StoreAwayError("it is down"), StoreRefusedError("it is down")])
async def test_a_store_that_fails_is_told_as_such(tmp_path, error):
    with pytest.raises(ConfigurationError, match=r"^store: it is down$"):
        async with opened_store(Settings(store=StoreSettings(path=tmp_path / "x.db")), make=True):
            raise error


async def test_where_there_is_no_file_a_command_that_only_looks_makes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^store\.path \.run/embedsvc\.db: there is no such file "):
        async with opened_store(Settings()):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "x.db"
    path.write_text("not a database, and long enough to be taken for one" * 100)
    with pytest.raises(ConfigurationError, match=r"^store\.path .*x\.db: "):
        async with opened_store(Settings(store=StoreSettings(path=path))):
            pass


async def test_an_admin_key_that_is_not_there_is_named_by_its_setting(tmp_path):
    ref = SecretRef("file", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match=r"^store\.admin_key \(file:.*missing\): "):
        async with opened_store(Settings(store=StoreSettings(kind="convex", admin_key=ref))):
            pass


async def test_convex_that_does_not_answer_is_told_in_a_line(tmp_path):
    key = tmp_path / "admin_key"
    key.write_text("x\n")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        settings = StoreSettings(
            kind="convex",
            url=f"http://127.0.0.1:{deaf.getsockname()[1]}",
            admin_key=SecretRef("file", str(key)),
        )
        with pytest.raises(ConfigurationError, match=r"^store: Convex does not answer"):
            async with opened_store(Settings(store=settings)) as store:
                await store.list_keys()
