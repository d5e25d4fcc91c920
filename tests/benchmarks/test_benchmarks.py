"""The benchmarks that take seconds run, and store the figures that they print."""

import json
import subprocess
import sys

from atma18.storage.digests import PROJECT_FOLDER


def figures(name, tmp_path):
    file = tmp_path / "kept" / "figures.json"
    words = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(file)]
    done = subprocess.run(words, cwd=PROJECT_FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = json.loads(file.read_text())
    made = kept.pop("made")
    assert set(made) == {"date", "commit", "processor", "cores", "memory_gb", "system", "peak_memory_gb"}
    assert f"peak memory of this process: {made['peak_memory_gb']:.2f} GB" in done.stdout
    return kept


def test_the_peak_of_a_process_is_its_own_whatever_its_parent_held():
    child = [sys.executable, "-c", "from benchmarks.results import peak_gb; print(peak_gb())"]
    parent = f"""
import subprocess
held = b"1" * 600_000_000
subprocess.run({child!r}, check=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", parent], cwd=PROJECT_FOLDER, capture_output=True, text=True, check=True
    )
    assert 0 < float(done.stdout) < 0.6


def test_blending_is_never_above_the_search_and_says_how_far_it_may_be_from_the_least(tmp_path):
    found = figures("blending", tmp_path)

    few = found.pop("few_scenes")
    assert set(few) == {"12", "12 absurd"}
    for of_scenes in few.values():
        for method in ("exact", "shrunk"):
            assert 0 <= of_scenes[f"{method}_far_worse"] <= of_scenes[f"{method}_worse"] <= 1
            assert 0 < of_scenes[f"{method}_mean"] <= of_scenes[f"{method}_worst"]
    assert set(found) == {"K4", "K8", "K16"}
    for of_inputs in found.values():
        assert of_inputs["mae_exact"] <= of_inputs["mae_nelder_mead"]
        assert 0 <= of_inputs["relative_gap"] <= 1e-6
        assert of_inputs["memory_ratio"] > 0
        assert of_inputs["speed_ratio"] == of_inputs["seconds_nelder_mead"] / of_inputs["seconds_exact"]


def test_scene_features_are_those_of_a_function_that_sees_one_scene_at_a_time(tmp_path):
    assert figures("features", tmp_path)["worst_difference"] == 0
