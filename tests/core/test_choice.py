"""A word that is not allowed is refused with the list of those that are."""

import pytest

from scanroom.core.choice import one_of
from scanroom.core.errors import ProtocolError


def test_an_allowed_word_comes_back():
    assert one_of("colour", "red", iter(("green", "red")), "rainbow") == "red"


@pytest.mark.parametrize("word", ["", "RED", "gre", "green, red"])
def test_any_other_is_refused_with_value_choices_source_and_remedy(word):
    with pytest.raises(ProtocolError) as refused:
        one_of("colour", word, ("green", "red"), "rainbow", remedy="Take red.")
    assert str(refused.value) == (
        f"colour is {word!r}; it may be one of green, red (rainbow). Take red."
    )
