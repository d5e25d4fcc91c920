"""A repeated route is one drive whose copies follow each other, and its ingest is measured."""

import json

import numpy as np
from click.testing import CliRunner

from atma18.recordings import openpilot
from benchmarks import ingest
from tests.recordings import writers


def test_copies_of_a_route_are_as_much_later_as_it_is_long(tmp_path):
    writers.openpilot(tmp_path / "recorded")

    ingest.repeat(tmp_path / "recorded", 3, tmp_path / "repeated")

    (route,) = openpilot.find(tmp_path / "repeated")
    recording = openpilot.read(route)
    expected_s = np.concatenate([writers.frame_times_s() + 60 * k for k in range(3)])
    np.testing.assert_allclose(recording.frames.times_s, expected_s, atol=1e-6)
    assert len(recording.signals["vEgo"]) == 3 * 80


def test_it_keeps_seconds_and_memory_beside_real_time(tmp_path):
    writers.openpilot(tmp_path / "recorded")
    words = ["--route", str(tmp_path / "recorded"), "--segments", "2", "--json", str(tmp_path / "kept.json")]

    done = CliRunner().invoke(ingest.main, words)

    assert done.exit_code == 0, done.output
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept["ratio"] == kept["seconds"] / 120
    assert 0 < kept["peak_memory_gb"] < 2
    assert f"2 segments: {kept['seconds']:.0f} s, {kept['ratio']:.3f} of real time" in done.output
