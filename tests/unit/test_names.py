"""One rule for the names people give, whatever door they come in by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.errors import InvalidName
from kith.names import MAX_SUBJECT_NAME, gallery_name, subject_name


@pytest.mark.parametrize("name", ["Ada Lovelace", "R/D · night/shift", "😀👩‍🔬", "山田 太郎", "a" * MAX_SUBJECT_NAME])
def test_slashes_emoji_and_any_script_are_names(name: str) -> None:
    assert subject_name(f"  {name} ") == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "empty"),
        (" \t ", "empty"),
        ("a" * 300, "300 characters, the limit is 200"),
        ("Ada\x00", "U+0000"),
        ("Ada\nLovelace", "U+000A"),
        ("\ud800", "U+D800"),
    ],
)
def test_a_bad_subject_name_is_refused_with_the_fault_and_the_limit(name: str, said: str) -> None:
    with pytest.raises(InvalidName) as refusal:
        subject_name(name)
    assert said in str(refusal.value)


@given(st.text(max_size=400))
def test_a_normalised_name_is_its_own_normal_form(name: str) -> None:
    try:
        once = subject_name(name)
    except InvalidName:
        return
    assert subject_name(once) == once
    assert once.encode()


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "-a", "a" * 65, "a:b", "é", "a\n"])
def test_a_bad_gallery_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName, match=r"1\.\.64 characters"):
        gallery_name(name)
