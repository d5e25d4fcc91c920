"""The comparison of simulated drives with published statistics must measure what it reports."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from atma18.schema import TARGETS
from atma18.simulate import Plan, draw_scene
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks.simulator.drives import Drives, hidden_state
from benchmarks.simulator.ladder import _mae_m, _r2
from benchmarks.simulator.published import Line, near, share
from benchmarks.simulator.statistics import statistics
from tests.drives import driver, light, scene
from tests.simulate.test_simulate_frames import AFAR_M, HERE_M, NOW


@pytest.mark.parametrize(
    ("line", "low", "high"),
    [
        pytest.param(near("speed", 9.0, 10.0, std=7.0), 8.5, 11.5, id="15-percent"),
        pytest.param(near("angle", 0.0, -0.4, std=60.0), -3.4, 2.6, id="a-twentieth-of-the-deviation"),
        pytest.param(share("flag", 0.5, 0.48), 0.45, 0.51, id="3-points"),
    ],
)
def test_ranges_are_those_of_the_acceptance(line, low, high):
    assert (line.low, line.high) == pytest.approx((low, high))
    assert line.alike
    assert str(line).endswith(" alike")


@pytest.mark.parametrize(
    ("found", "verdict"), [(0.9, "UNLIKE"), (1.0, "alike"), (2.0, "alike"), (2.1, "UNLIKE"), (np.nan, "UNLIKE")]
)
def test_verdict_is_whether_it_lies_in_the_range(found, verdict):
    assert str(Line("it", found, 1.5, 1.0, 2.0)).split()[-1] == verdict


@pytest.fixture(scope="module")
def drives():
    return Drives.draw(Plan(12, 4, seed=1), workers=1)


def test_rows_of_signals_and_of_what_only_frames_show_belong_together(drives):
    tables = drives.tables["train"]
    assert len(tables) == len(drives.targets_m) == len(drives.with_scene())
    drawn = {
        sample.sample_id: hidden_state(scene, sample.step)
        for task in Plan(12, 4, seed=1).scenes()
        for scene in [draw_scene(task.seed, task.split, task.index, task.size)]
        for sample in scene.samples
    }
    for split, table in drives.tables.items():
        expected = pd.DataFrame([drawn[i] for i in table["ID"]]).astype(np.float64)
        pd.testing.assert_frame_equal(drives.hidden[split], expected)
    np.testing.assert_array_equal(drives.targets_m, tables[list(TARGETS)])


def test_statistics_are_those_of_the_table(drives):
    lines = {line.what: line.found for line in statistics(drives)}
    train = drives.tables["train"]

    assert lines["vEgo, mean"] == pytest.approx(train["vEgo"].mean())
    assert lines["gas, 75 %"] == pytest.approx(np.quantile(train["gas"], 0.75))
    assert lines["x_5, std m"] == pytest.approx(np.std(train["x_5"], ddof=1))
    assert lines["brakePressed, share"] == pytest.approx(train["brakePressed"].sum() / len(train))
    by_id = train.set_index("ID")["vEgo"]
    pairs = [(i, f"{i[:32]}_{int(i[33:]) + 100}") for i in by_id.index]
    steps = [by_id[after] - by_id[before] for before, after in pairs if after in by_id.index]
    assert lines["vEgo, std over 10 s"] == pytest.approx(np.std(steps, ddof=1))
    assert lines["train samples off the grid 20 + 100k"] == 0


def test_hidden_state_is_what_lies_ahead():
    seen = scene(curvature_per_m=0.01, light=light(HERE_M + AFAR_M, "red"), lead=(driver(), 15.5))
    state = hidden_state(seen, NOW)

    assert state["road_left_at_30_m"] == pytest.approx(100 * (1 - np.cos(0.316)), abs=0.05)  # seen from the rear axle
    assert state["lead_gap_m"] == pytest.approx(15.5, abs=0.2) and state["lead_speed_mps"] == pytest.approx(10, abs=0.1)
    assert state["light_stop_m"] == pytest.approx(AFAR_M + 1.6, abs=0.5) and state["light_lets_go"] == 0
    assert np.isnan(hidden_state(scene(), NOW)["lead_gap_m"]) and np.isnan(hidden_state(scene(), NOW)["light_stop_m"])


def test_scores_are_out_of_fold():
    scenes, truth = np.repeat([f"s{i}" for i in range(5)], 2), np.repeat([0.0, 1, 2, 3, 4], 2)
    features = pd.DataFrame({"nothing": np.zeros(10)})

    others_m = np.array([2.5, 2.25, 2.0, 1.75, 1.5])  # the mean of the four other scenes
    error_m = np.abs(others_m - np.arange(5))
    assert _mae_m(LinearRegression(), features, truth[:, None], scenes) == pytest.approx(error_m.mean())
    assert _r2(LinearRegression(), features, truth, scenes) == pytest.approx(1 - (error_m**2).sum() / 10)


def test_quick_report_ends_with_a_count_and_is_kept_as_json(tmp_path):
    words = [sys.executable, "-m", "benchmarks.simulator", "--quick", "--json", str(tmp_path / "lines.json")]
    done = subprocess.run(words, cwd=PROJECT_FOLDER, capture_output=True, text=True, check=True)

    kept = json.loads((tmp_path / "lines.json").read_text())
    lines = kept["lines"]
    assert {"date", "commit", "cores"} <= set(kept["made"])
    alike = sum(line["alike"] for line in lines)
    *told, count, memory = done.stdout.splitlines()
    assert count == f"{alike} of {len(lines)} alike, 300 scenes, seed 0"
    assert len(told) == len(lines) and memory.startswith("peak memory")
    assert alike > 0.8 * len(lines)
