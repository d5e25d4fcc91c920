"""Groups of scene sizes are typed, read and written."""

import pytest

from atma18.config.groups import groups_as_text, scene_size_groups


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        pytest.param("1-2,3+", ((1, 2), (3, None)), id="as published"),
        pytest.param("1+", ((1, None),), id="one group"),
        pytest.param("1,2,3+", ((1, 1), (2, 2), (3, None)), id="single sizes"),
        pytest.param(" 1-10 , 11+ ", ((1, 10), (11, None)), id="spaces and two digits"),
    ],
)
def test_groups_of_scene_sizes_are_read_from_text(text, groups):
    assert scene_size_groups(text) == groups


@pytest.mark.parametrize("text", ["", "1-2,", "a", "-2", "1-", "1-2+", "+", "1.5+", "1–2", "1 - 2"])
def test_other_texts_are_no_groups_of_scene_sizes(text):
    with pytest.raises(ValueError, match=r"expected groups of scene sizes like 1-2,3\+, found ") as refused:
        scene_size_groups(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["1+", "1-2,3+", "1,2,3-5,6+"])
def test_groups_are_written_as_they_are_read(text):
    assert groups_as_text(scene_size_groups(text)) == text
