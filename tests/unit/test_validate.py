"""validate: what a request may hold."""

import pytest

from embedsvc import validate
from embedsvc.config import LimitSettings
from embedsvc.errors import InvalidRequestError

LIMITS = LimitSettings(max_inputs=3, max_text_chars=5)


@pytest.mark.parametrize("count", [1, 3])
def test_a_count_within_the_limits_passes(count):
    validate.check_count(["a"] * count, LIMITS, "input")


@pytest.mark.parametrize(("count", "message"), [(0, "at least one"), (4, "3 inputs at most; got 4")])
def test_a_count_out_of_the_limits_names_the_field_and_the_limit(count, message):
    with pytest.raises(InvalidRequestError, match=f"^input must hold {message}") as caught:
        validate.check_count(["a"] * count, LIMITS, "input")
    assert caught.value.param == "input"


@pytest.mark.parametrize("item", ["a", " ", "12345", "東京🦊é!", "\ud800", [0], [7] * 5, (1, 2)])
def test_a_good_input_has_no_fault(item):
    assert validate.find_fault(item, LIMITS) is None


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("", "must not be an empty string"),
        ("123456", "must be 5 characters at most; got 6"),
        ("🦊" * 6, "must be 5 characters at most; got 6"),
        ("a\0b", "must not contain the character U+0000"),
        ([], "must not be an empty list of token ids"),
    ],
)
def test_what_is_wrong_with_a_bad_input_is_returned(item, message):
    assert validate.find_fault(item, LIMITS) == message


@pytest.mark.parametrize("wanted", [None, 384])
@pytest.mark.parametrize("allowed", [True, False])
def test_all_dimensions_are_always_allowed(wanted, allowed):
    assert validate.check_dimensions(wanted, 384, allowed=allowed, model="m") == 384


@pytest.mark.parametrize("wanted", [1, 64, 383])
def test_fewer_dimensions_are_kept_where_that_is_allowed(wanted):
    assert validate.check_dimensions(wanted, 384, allowed=True, model="m") == wanted


@pytest.mark.parametrize("wanted", [-1, 1, 383, 385])
def test_other_dimensions_elsewhere_are_refused_with_the_setting_that_allows_them(wanted):
    with pytest.raises(InvalidRequestError, match=r'models\.settings\."m"\.allow_dimensions') as caught:
        validate.check_dimensions(wanted, 384, allowed=False, model="m")
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize("wanted", [-1, 0, 385, 2**32])
def test_dimensions_that_the_model_does_not_have_are_refused(wanted):
    with pytest.raises(InvalidRequestError, match=f"from 1 to 384 for m; got {wanted}") as caught:
        validate.check_dimensions(wanted, 384, allowed=True, model="m")
    assert caught.value.param == "dimensions"


def test_token_ids_have_the_limit_of_characters():
    assert validate.find_fault([7] * 6, LIMITS) == "must be 5 token ids at most; got 6"
