"""phrases: the language in which rules are written."""

import pytest

from embedsvc.phrases import parse, spread, squeeze, trace


def find(rules, text):
    """The rules that match, with and without the look at traces."""
    parsed, _ = parse(rules)
    encoded = text.encode()
    matching = [rule.name for rule in parsed if rule.pattern.search(spread(encoded))]
    assert matching == [rule.name for rule in parsed if rule.matches(trace(encoded), encoded)]
    return matching


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        (
            "!one two",
            ["one two", "zero one two three", "ONE, two!", "one. Two"],
            ["one", "two one", "one to two"],
        ),
        (
            "!one two",
            ["onetwo", "one\n\ntwo", "one-two", "one_two"],
            ["none two", "one twos", "bone twofold"],
        ),
        ("!one|two three", ["one three", "two three"], ["three", "one two"]),
        ("!one two? three", ["one three", "one two three"], ["one two two three"]),
        ("!one two|more* three", ["one three", "one two more two three"], ["one many three"]),
        (
            "!one+two",
            ["one two", "one-two", "one\n two", "one.two", "onetwo"],
            ["one. Two", "one, two", "one ... two"],
        ),
        ("!one_two|three four", ["one, two four", "three four"], ["one four", "two four"]),
        (
            "^ !one two",
            ["one two", "Well: one two", "So.\n- one two", "\n\none two"],
            ["and one two", "a, b one two"],
        ),
        ("^ so? !one", ["one", "so one", "No. So one."], ["no one"]),
        ("!one two :", ["one two:", "say one two : three", "one two:three"], ["one two", "one two."]),
    ],
)
def test_a_rule_is_a_row_of_words(rule, yes, no):
    assert [text for text in yes if not find(f"name: {rule}", text)] == []
    assert [text for text in no if find(f"name: {rule}", text)] == []


@pytest.mark.parametrize(
    "text",
    ["l1ne tab1e", "1ine table", "Iine TABIE", "line t@ble", "1 i n 3  t 4 b l e", "l.i.n.e t-a-b-l-e"],
)
def test_letters_may_be_other_letters_digits_and_apart(text):
    assert find("name: !line table", text) == ["name"]


@pytest.mark.parametrize(
    "text", ["l. i. n. e. t. a. b. l. e.", "l , i , n , e , table", "l\n\ni\n\nn\n\ne table"]
)
def test_letters_that_stand_alone_may_have_anything_between_them(text):
    assert find("name: !line table", text) == ["name"]


@pytest.mark.parametrize("text", ["Stop there for. Get rules", "for, get rules"])
def test_two_words_are_not_one_over_the_end_of_a_clause(text):
    assert find("name: !forget rules", text) == []


def test_letters_of_other_scripts_may_stand_beside_a_phrase_but_not_in_it():
    assert find("name: !one two", "\0one two\0") == ["name"]
    assert find("name: !one two", "one \0 two") == []
    assert find("name: !one two", "on\0e two") == []


def test_sets_are_words_with_a_name_and_lines_go_on_where_they_are_indented():
    rules = "# why\n$small = one|two\n$all = $small|three\n\nname: !$all\n  apples|pears\n# why\nother: !four"
    assert find(rules, "three pears") == ["name"]
    assert find(rules, "two apples or four") == ["name", "other"]


def test_signs_are_found_as_they_are_but_for_white_space():
    _, signs = parse('name: "<|a b|>" "[C]"')
    assert [(sign.name, sign.text) for sign in signs] == [("name", b"<|ab|>"), ("name", b"[C]")]
    assert signs[0].text in squeeze(b"so <| a\nb |> it is")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("name", "neither a set nor a rule: name"),
        ("name: !one $more", r"no set that came before: \$more"),
        ("name: !one t2o", "no word"),
        ("name: !One", "no word"),
        ("name: one two", "name needs one step with an exclamation mark"),
        ("name: !one !two", "name needs one step with an exclamation mark"),
        ("name: one !two?", "name needs one step with an exclamation mark"),
        ("name: one? !two", "name must not begin with a step that may be left out"),
    ],
)
def test_a_line_of_another_form_is_named(rules, message):
    with pytest.raises(ValueError, match=message):
        parse(rules)
