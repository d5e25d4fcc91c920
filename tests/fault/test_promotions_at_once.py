"""Two promotions at the same moment leave one champion and two records."""

import pytest

from atma18.tracking import runs
from steps import blend, promote
from tests.fixtures import COMMIT
from tests.forked import Forked
from tests.promoting import holder, verdicts, version
from tests.store import call, newest, ran, version_of


@pytest.fixture(scope="module")
def finished(finished_lifted):
    """What other processes than this one can load, with blends that beat the motion model."""
    return finished_lifted


def test_two_promotions_at_the_same_moment_leave_one_champion_and_two_records(there, monkeypatch):
    monkeypatch.setattr(runs, "git_state", lambda: COMMIT)
    good = int(version_of("blend", newest("blend")))
    ran(call(blend, there.data, "--inputs=embed"))
    poor = int(version_of("blend", newest("blend")))
    ran(call(blend, there.data))
    again = int(version_of("blend", newest("blend")))
    ran(call(promote, version(poor)))

    started = [Forked("promote", [version(number)], there.store) for number in (good, again)]
    ended = [process.wait() for process in started]

    # The two are equal: whichever comes second finds the other as champion, and is a tie.
    assert sorted(ended) == [0, 1], [process.said for process in started]
    assert holder("champion") in (good, again)
    assert holder("previous") == poor
    both = verdicts()[1:]
    assert sorted(outcome for outcome, _, _ in both) == ["promoted", "refused"]
    [(_, _, winner)] = [record for record in both if record[0] == "promoted"]
    [(_, beside, _)] = [record for record in both if record[0] == "refused"]
    assert winner == beside == str(holder("champion"))
