"""The whole pipeline on real drives, if they are beside the checkout.

Excerpts of KITTI (CC BY-NC-SA) are not part of the project, so these tests exist only where the folder does.
"""

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.schema import TARGETS
from steps import main
from tests.fixtures import enter
from tests.store import SMALL, STEPS

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "data" / "kitti-clips"

if CLIPS.is_dir():

    def test_absent_sensors_and_another_camera_are_read(tmp_path):
        dataset = Dataset.open(str(CLIPS), Cache.open(tmp_path))

        assert dataset.absent == ("steeringAngleDeg", "steeringTorque", "brake", "gas")
        assert (len(dataset.train), len(dataset.test)) == (201, 24)
        assert dataset.camera.height_above_road_m == 1.65

    @pytest.mark.usefixtures("small_backbone")
    def test_main_goes_from_three_training_clips_to_a_submission(tmp_path, monkeypatch):
        enter(tmp_path, monkeypatch)
        short = ["--folds=3", "--nn1_num_epochs=1", "--nn2_num_epochs=1", "--gbdt_rounds=20", SMALL]

        done = CliRunner().invoke(main.main, [f"--data={CLIPS}", *short])

        assert done.exit_code == 0, done.output + repr(done.exception)
        runs = MlflowClient().search_runs([MlflowClient().get_experiment_by_name("atma18").experiment_id])
        assert [run.info.status for run in runs] == ["FINISHED"] * (1 + len(STEPS))
        for step in STEPS:
            assert MlflowClient().get_model_version_by_alias(f"atma18-{step}", "candidate").run_id
        assert pd.read_csv("submission.csv").shape == (24, len(TARGETS))
        assert "these drives have no steeringAngleDeg, steeringTorque, brake, gas" in done.output
