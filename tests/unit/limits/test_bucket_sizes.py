"""limits.bucket: requests of every size have all of a window that they fit into."""

from hypothesis import given
from hypothesis import strategies as st

from embedsvc.limits.bucket import Bucket, Limit
from embedsvc.store.records import Grant

MINUTE = 60.0


class Alone:
    """A server with a window that nobody else takes from, whose store answers between two requests."""

    def __init__(self, units):
        self.bucket = Bucket(Limit("x", units, MINUTE))
        self.left = units
        self.answer()

    def ask(self, units):
        """Whether a request passes: at once, or once the store has answered that it makes ask."""
        if not self.bucket.may_take(units, 1.0):
            self.answer()
        if not self.bucket.may_take(units, 1.0):
            return False
        self.bucket.take(units, 1.0)
        return True

    def answer(self):
        """Let the store answer, if it is asked."""
        if self.bucket.needs_lease(1.0):
            self.bucket.wanted(1.0)
            granted = min(self.bucket.want(1.0).units, self.left)
            self.left -= granted
            self.bucket.granted(Grant(granted, self.left, MINUTE - 1.0), 1.0)


@given(units=st.integers(1, 2000), size=st.integers(1, 2000))
def test_as_many_requests_of_one_size_pass_as_fit_into_the_window_and_a_block(units, size):
    server = Alone(units)
    passed = 0
    while server.ask(size):
        passed += 1
        server.answer()
    assert units // size <= passed
    assert passed * size <= units + server.bucket.limit.block


@given(units=st.integers(1, 2000), sizes=st.lists(st.integers(1, 2000), max_size=50))
def test_who_is_refused_has_less_left_than_it_asks_for_and_is_told_so(units, sizes):
    server = Alone(units)
    for size in sizes:
        passed = server.ask(size)
        server.answer()
        if not passed:
            assert server.bucket.remaining(1.0) < size
            assert server.bucket.retry_in(size, 1.0) == (None if size > units else MINUTE - 1.0)
