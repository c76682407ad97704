"""signing.nonces: bounded, cheap, and no nonce forgotten too early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsvc.errors import OverloadedError, UnauthenticatedError
from embedsvc.signing.nonces import FORGET_AT_UPKEEP, Nonces, use_of


def use(nonce, time=1000, signer="billing"):
    return use_of(signer, str(nonce), time)


def kept(nonces):
    """How many nonces are in memory."""
    return sum(len(known.nonces) for known in nonces._signers.values())


def test_a_nonce_is_taken_once():
    nonces = Nonces(10)
    nonces.take(use("a"), 700)
    with pytest.raises(UnauthenticatedError, match="used before"):
        nonces.take(use("a"), 700)
    nonces.take(use("b"), 700)
    nonces.take(use("a", signer="search"), 700)


def test_old_nonces_make_room_for_new_ones():
    nonces = Nonces(10)
    for number in range(1000):
        nonces.take(use(number, time=number), number - 9)
    assert kept(nonces) == 10


def test_nonces_whose_time_is_not_in_order_are_forgotten_by_their_time():
    nonces = Nonces(2)
    nonces.take(use("late", time=1300), 1000)
    nonces.take(use("early", time=1000), 1000)
    with pytest.raises(OverloadedError):
        nonces.take(use("another", time=1200), 1000)
    nonces.take(use("another", time=1200), 1001)
    with pytest.raises(UnauthenticatedError):
        nonces.take(use("late", time=1300), 1001)


def test_after_a_long_silence_a_call_forgets_a_few_and_upkeep_the_rest():
    nonces = Nonces(10_000)
    for number in range(5000):
        nonces.take(use(number), 700)
    nonces.take(use("new", time=9000), 8700)
    assert kept(nonces) > 4990
    for _ in range(5000 // FORGET_AT_UPKEEP):
        nonces.upkeep(8700)
    assert kept(nonces) == 1


def test_what_is_learnt_from_others_does_not_grow_without_end():
    nonces = Nonces(10)
    for number in range(1000):
        nonces.add(use(number, time=number), number - 9)
    assert kept(nonces) == 10


steps = st.tuples(st.integers(0, 3), st.integers(-20, 20), st.integers(0, 30))


@given(st.lists(steps, max_size=200))
def test_no_signature_is_accepted_twice_whatever_comes(calls):
    """Each step: how much time passes, how far off the signature's own time is, and its nonce."""
    nonces, taken, now = Nonces(20), set(), 1000
    for passed, offset, nonce in calls:
        now += passed
        one = use(nonce, time=now + offset)
        try:
            nonces.take(one, now - 20)
        except OverloadedError:
            assert kept(nonces) == 20
            assert one not in taken
        except UnauthenticatedError:
            assert any(other.nonce == one.nonce for other in taken)
        else:
            assert one not in taken
            taken.add(one)


def test_a_refusal_for_want_of_room_is_one_that_may_be_tried_again():
    nonces = Nonces(1)
    nonces.take(use("a"), 700)
    with pytest.raises(OverloadedError) as caught:
        nonces.take(use("b"), 700)
    assert (caught.value.code, caught.value.retry_after) == ("UNAVAILABLE", 1.0)
