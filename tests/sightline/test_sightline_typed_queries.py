"""What people type becomes the clauses they mean, and a sentence without signs stays what it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sightline.queries import Query
from sightline.typed_queries import parse


def said(typed: str) -> tuple[list[str], list[str]] | str:
    """(texts that must match, texts that must not), or the text itself."""
    read = parse(typed)
    if isinstance(read, str):
        return read
    assert not read.any
    assert {clause.weight for _, clause in read.clauses} == {1.0}
    return [one.text for one in read.all], [one.text for one in read.none]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("red car -house", (["red car"], ["house"])),
        ("-house red -sky car", (["red car"], ["house", "sky"])),
        ('"a b" + night', (["a b", "night"], [])),
        ("a + b + c", (["a", "b", "c"], [])),
        ("a +b", (["a", "b"], [])),
        ('red -"a big  house"', (["red"], ["a big house"])),
        ('"a b" "c d" -e', (["a b c d"], ["e"])),
        ("“a b” −night –„c d“ －e", (["a b"], ["night", "c d", "e"])),
        ('-"say \\"no\\"" x', (["x"], ['say "no"'])),
        ("a + -b + c", (["a", "c"], ["b"])),
        ("-house", ([], ["house"])),
        ("a -日本", (["a"], ["日本"])),
        ('"-x y" -z', (["-x y"], ["z"])),
    ],
)
def test_signs_make_clauses(typed: str, meant: tuple[list[str], list[str]]) -> None:
    assert said(typed) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "a t-shirt", "black-and-white", "cat - dog", "--house", "c++ and a+b", "a—b", "a - ", "-", "+", '""',
        '"never closed', 'a 5" screen', '-"never closed', "  spaced   out ", "a\\b", "-> arrow", "",
    ],
)  # fmt: skip
def test_what_is_no_sign_is_text_as_it_was_typed(typed: str) -> None:
    assert said(typed) == typed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ('"red car"', "red car"), ("red \\-40 degrees", "red -40 degrees"), ('"-40 degrees"', "-40 degrees"),
        ("a +", "a"), ('a sign "stop"', "a sign stop"), ("\\+1", "+1"), ('\\"a', '"a'),
    ],
)  # fmt: skip
def test_quotes_and_a_backslash_take_the_meaning_from_signs(typed: str, meant: str) -> None:
    assert said(typed) == meant


@settings(max_examples=50, deadline=None)
@given(some.text(some.sampled_from('ab -+"\\“”−– '), max_size=40))
def test_whatever_is_typed_is_read_and_no_clause_is_empty(typed: str) -> None:
    read = parse(typed)
    if isinstance(read, Query):
        assert read.clauses
        assert all(text.strip() for text in read.texts)
    elif not set(typed) & set('-+"\\“”−–'):
        assert read == typed


def test_long_and_hostile_texts_are_read_in_time_that_grows_with_them() -> None:
    for unit in ('"', "\\", '-"', '"\\', "+ ", "-a ", '"a" ', '\\"'):
        parse(unit * 20_000)
