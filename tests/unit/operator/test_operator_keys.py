"""operator.keys: names, states, and which key an operator means."""

import time
from dataclasses import replace

import pytest

from embedsvc.errors import ConfigurationError
from embedsvc.keys import token
from embedsvc.operator.keys import (
    SelectionError,
    check_name,
    create,
    due,
    handle,
    make,
    rotate,
    select,
    state_of,
    succeed,
    working,
)
from embedsvc.periods import DAY
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError
from embedsvc.store.records import InjectionPolicy, KeyRecord, Limits
from embedsvc.store.sqlite.store import open_sqlite

NOW = 1_800_000_000.0
DRAFT = KeyRecord("", "", "alice")


def record(name="alice", **fields):
    return replace(make(DRAFT).record, name=name, **fields)


@pytest.fixture
async def store(tmp_path):
    async with open_sqlite(tmp_path / "x.db") as opened:
        yield opened


@pytest.mark.parametrize("name", ["a", "7", "team a", "search/indexer", "a.b_c-d@e", "x" * 64])
def test_a_name_is_letters_digits_and_a_few_signs(name):
    assert check_name("a name", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "x" * 65,
        "=HYPERLINK(1)",
        "+1",
        "-1",
        "@a",
        "/etc",
        ".a",
        "_a",
        "a\n",
        "a\nb",
        "a\tb",
        "a\x1b[31mb",
        "a\x00",
        "a,b",
        'a"b',
        "[red]a",
        "a[/]",
        "<b>",
        "a\u202eb",
        "a\u2028b",
        "é",
        "a;b",
        "$(a)",
        "a\\b",
    ],
)
def test_what_logs_tables_spreadsheets_or_terminals_could_mistake_is_no_name(name):
    with pytest.raises(ConfigurationError, match=r"^a name must be 1 to 64 letters"):
        check_name("a name", name)


@pytest.mark.parametrize("form", ["{}", "my {}", "emb_short"])
def test_a_key_is_no_name_and_is_not_repeated(form):
    name = form.format(token.generate())
    with pytest.raises(ConfigurationError, match=r"^a name must not begin with emb_, as keys do") as told:
        check_name("a name", name)
    assert name not in str(told.value)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "active"),
        ({"expires_at": NOW + 1}, "active"),
        ({"successor": "b" * 64, "expires_at": NOW + 1}, "rotated"),
        ({"expires_at": NOW}, "expired"),
        ({"successor": "b" * 64, "expires_at": NOW - 1}, "expired"),
        ({"revoked_at": NOW - 9}, "revoked"),
        ({"revoked_at": NOW - 9, "expires_at": NOW - 10, "successor": "b" * 64}, "revoked"),
    ],
)
def test_a_key_is_active_rotated_expired_or_revoked(fields, state):
    assert state_of(replace(DRAFT, **fields), NOW) == state


def test_a_key_is_told_from_others_by_its_prefix_or_by_its_digest_where_nobody_knows_that():
    key = make(DRAFT)
    assert handle(key.record) == key.key[:12]
    assert handle(replace(key.record, prefix="emb_")) == key.record.digest[:16]


def test_a_key_that_is_made_is_random_and_as_the_draft_says():
    draft = replace(
        DRAFT, owner="b", models=("m",), limits=Limits(5), revoked_at=1.0, used_at=1.0, successor="x"
    )
    made = make(draft)
    assert token.is_key(made.key)
    assert made.key != make(draft).key
    assert made.record == replace(
        draft,
        digest=token.digest(made.key),
        prefix=made.key[:12],
        created_at=made.record.created_at,
        revoked_at=None,
        used_at=None,
        successor=None,
    )
    assert abs(made.record.created_at - time.time()) < 5


def test_a_key_that_is_made_is_not_in_what_a_log_would_show_of_it():
    made = make(DRAFT)
    assert made.key not in repr(made)


def test_a_successor_may_do_the_same_and_lives_as_long():
    old = record(
        owner="b",
        models=("m",),
        calls=("embed",),
        limits=Limits(1, 2, 3, 4, 5),
        injection=InjectionPolicy.OFF,
        cache=False,
        created_at=1000.0,
        expires_at=1000.0 + 90 * DAY,
    )
    new = succeed(old).record
    assert new.digest != old.digest
    assert abs(new.expires_at - new.created_at - 90 * DAY) < 1
    same = replace(new, digest=old.digest, prefix=old.prefix, created_at=1000.0, expires_at=old.expires_at)
    assert same == old


def test_a_successor_of_a_key_that_lives_for_ever_does_so_too():
    assert succeed(record()).record.expires_at is None


def test_keys_are_due_that_are_in_use_and_old_enough():
    old = record("old", created_at=time.time() - 31 * DAY)
    others = [
        record("young", created_at=time.time() - 29 * DAY),
        replace(old, name="rotated", successor="b" * 64),
        replace(old, name="revoked", revoked_at=1.0),
        replace(old, name="expired", expires_at=time.time() - 1),
    ]
    assert due([old, *others], 30 * DAY) == [old]
    assert {key.name for key in due([old, *others], 0)} == {"old", "young"}


def test_a_key_is_selected_by_its_name_its_prefix_its_digest_or_itself():
    made, other = make(DRAFT), record("bob")
    for named in ("alice", made.record.prefix, made.record.digest, made.key):
        assert select([other, made.record], named) == made.record
        assert working([other, made.record], named) == [made.record]


def test_an_imported_key_is_selected_by_the_start_of_its_digest_and_not_by_what_all_keys_begin_with():
    one, two = (record(name, prefix="emb_") for name in ("alice", "bob"))
    assert select([one, two], one.digest[:16]) == one
    for find in (select, working):
        with pytest.raises(SelectionError, match="no key"):
            find([one, two], "emb_")


def test_of_several_keys_of_a_name_the_active_one_is_meant():
    old = record(successor="b" * 64, expires_at=time.time() + 60)
    new = record()
    assert select([record(revoked_at=1.0), old, new], "alice") == new


def test_the_only_key_of_a_name_is_meant_in_whatever_state():
    revoked = record(revoked_at=1.0)
    assert select([revoked], "alice") == revoked


def test_several_keys_of_a_name_are_told_by_what_each_can_be_named_by():
    keys = [record(), record(), record(prefix="emb_")]
    with pytest.raises(SelectionError) as told:
        select(keys, "alice")
    names = f"{keys[0].prefix}, {keys[1].prefix}, {keys[2].digest[:16]}"
    assert str(told.value) == f"several keys are called 'alice'; name one by its prefix: {names}"
    for key in keys:
        assert select(keys, handle(key)) == key


def test_several_keys_of_a_name_that_all_work_no_more_are_told_too():
    with pytest.raises(SelectionError, match="several keys are called 'alice'"):
        select([record(revoked_at=1.0), record(revoked_at=1.0)], "alice")


@pytest.mark.parametrize("named", ["", "ali", "Alice", "emb_", "nobody\n"])
def test_what_is_nobody_s_name_is_told(named):
    with pytest.raises(SelectionError) as told:
        select([record()], named)
    assert str(told.value) == f"no key has the name, prefix or digest {named!r}"


@pytest.mark.parametrize("find", [select, working])
@pytest.mark.parametrize("form", ["{}", "{}\n", "{}x"])
def test_a_whole_key_that_is_nobody_s_is_not_repeated(find, form):
    key = token.generate()
    with pytest.raises(SelectionError) as told:
        find([record()], form.format(key))
    assert f"'{key[:12]}…'" in str(told.value)
    assert key[:13] not in str(told.value)


def test_all_keys_of_a_name_are_found_that_still_work():
    old = record(successor="b" * 64, expires_at=time.time() + 60)
    new = record()
    gone = [record(revoked_at=1.0), record(expires_at=1.0)]
    assert working([*gone, old, new, record("bob")], "alice") == [old, new]
    assert working([*gone, old, new], old.prefix) == [old]
    with pytest.raises(SelectionError, match="no key that works has the name, prefix or digest 'alice'"):
        working(gone, "alice")


async def test_a_key_is_kept(store):
    made = make(DRAFT)
    await create(store, made)
    assert await store.list_keys() == [made.record]


async def test_an_old_key_works_on_for_the_overlap_and_no_longer_than_it_would_have(store):
    for life in (None, time.time() + 60):
        old = make(replace(DRAFT, expires_at=life))
        await create(store, old)
        made = succeed(old.record)
        await rotate(store, old.record, made, 3600)
        kept = await store.find_keys([old.record.digest, made.record.digest])
        assert kept[made.record.digest] == made.record
        assert kept[old.record.digest].successor == made.record.digest
        assert abs(kept[old.record.digest].expires_at - (life or time.time() + 3600)) < 5


async def test_a_key_that_has_a_successor_gets_no_second_one(store):
    old = make(DRAFT)
    await create(store, old)
    await rotate(store, old.record, succeed(old.record), 60)
    with pytest.raises(StoreRefusedError, match="has a successor"):
        await rotate(store, old.record, succeed(old.record), 60)


class Losing:
    """A store whose answers are lost, after it has done what it was asked or before."""

    def __init__(self, store, *, does):
        self._store = store
        self._does = does
        self.find_keys = store.find_keys

    async def create_key(self, key):
        if self._does:
            await self._store.create_key(key)
        raise StoreAwayError("the connection broke")

    async def rotate_key(self, *arguments):
        if self._does:
            await self._store.rotate_key(*arguments)
        raise StoreAwayError("the connection broke")


async def test_a_key_that_was_kept_is_not_lost_with_the_store_s_answer(store):
    made = make(DRAFT)
    await create(Losing(store, does=True), made)
    successor = succeed(made.record)
    await rotate(Losing(store, does=True), made.record, successor, 60)
    assert set(await store.find_keys([made.record.digest, successor.record.digest])) == {
        made.record.digest,
        successor.record.digest,
    }


async def test_a_key_that_was_not_kept_is_none(store):
    with pytest.raises(StoreAwayError, match="the connection broke"):
        await create(Losing(store, does=False), make(DRAFT))
    with pytest.raises(StoreAwayError, match="the connection broke"):
        await rotate(Losing(store, does=False), record(), make(DRAFT), 60)
