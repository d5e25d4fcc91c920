"""Which version answers: a decision about numbers, and a follower whose registry says whatever the test wants."""

from types import SimpleNamespace

import pytest

from atma18.serving.follow import Follower, Versions, to_load


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        pytest.param(Versions(3, 3), None, id="the same"),
        pytest.param(Versions(4, 3), 4, id="a promotion"),
        pytest.param(Versions(2, 3), 2, id="a rollback"),
        pytest.param(Versions(4, 3, frozenset({4})), None, id="refused before"),
        pytest.param(Versions(5, 3, frozenset({4})), 5, id="another one than the refused"),
        pytest.param(Versions(3, 3, frozenset({3})), None, id="back to the serving one"),
    ],
)
def test_what_is_loaded_follows_from_the_versions_alone(versions, expected):
    assert to_load(versions) == expected
    assert to_load(versions) == expected


class Registry:
    """Names a version, and brings any but those that are broken or away."""

    def __init__(self):
        self.names, self.broken, self.away, self.brought = 1, {}, None, []

    def wanted(self):
        if self.away:
            raise self.away
        return self.names

    def bring(self, number):
        self.brought.append(number)
        if number in self.broken:
            raise self.broken[number]
        return SimpleNamespace(model="blend", version=number)


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def follower(registry):
    return Follower(registry.bring(1), registry.wanted, registry.bring)


def test_a_promotion_and_a_rollback_are_followed_and_told(registry, follower):
    told = []
    follower.swapped = told.append
    for number in (1, 2, 2, 1):
        registry.names = number
        follower.look()
        assert follower.current.version == number
        assert not follower.stale

    assert registry.brought == [1, 2, 1]
    assert [answering.version for answering in told] == [2, 1]


def test_a_version_that_is_refused_never_serves_and_is_not_tried_again(registry, follower):
    registry.names, registry.broken[2] = 2, ValueError("expected the files\nthat it names, found others")
    follower.look()
    follower.look()

    assert follower.current.version == 1
    assert follower.refused == {2: "expected the files that it names, found others"}
    assert follower.stale
    assert registry.brought == [1, 2]

    registry.names = 1
    follower.look()
    assert not follower.stale
    registry.names = 3
    follower.look()
    assert follower.current.version == 3


def test_a_registry_that_is_away_changes_nothing_and_is_asked_again(registry, follower):
    registry.names, registry.away = 2, ConnectionError("no route")
    follower.look()
    assert (follower.current.version, follower.trouble, follower.refused) == (1, "no route", {})
    assert follower.stale

    registry.away, registry.broken[2] = None, ConnectionError("gone while fetching")
    follower.look()
    assert (follower.current.version, follower.trouble, follower.refused) == (1, "gone while fetching", {})

    del registry.broken[2]
    follower.look()
    assert (follower.current.version, follower.trouble, follower.stale) == (2, None, False)
