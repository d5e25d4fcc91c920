"""Each fold's model must read the predictions of the same fold's upstream model for the same rows."""

import numpy as np
import pytest

from atma18.data.predictions import Predictions
from atma18.embedding import EmbeddingFeatures
from atma18.gbdt.inputs import StoredInputs

FOLDS = np.array([0, 1, 2, 0, 1])


def predictions(bias_m=0.0):
    """OOF rows are all 10 x row, test rows 100 x fold + row."""
    return Predictions(
        train_ids=np.array([f"a_{i}" for i in range(5)]),
        folds=FOLDS,
        oof_m=np.tile(10.0 * np.arange(5)[:, None] + bias_m, 18),
        test_ids=np.array(["b_0", "b_1"]),
        test_by_fold_m=np.tile(100.0 * np.arange(3)[:, None, None] + np.arange(2)[:, None] + bias_m, 18),
    )


def features(fold, n):
    """Row i of fold k is 100 x fold + i; the similarity is the row alone."""
    row = np.arange(n, dtype=np.float32)[:, None]
    return EmbeddingFeatures(svd=100 * fold + np.tile(row, 3), similarity=np.tile(row, 2))


def embeddings(n):
    return {"embed": tuple(features(fold, n) for fold in range(3))}


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_training_row_brings_its_one_out_of_fold_prediction_to_every_fold(fold):
    inputs = StoredInputs.of_train({"nn1": predictions(), "nn2": predictions(bias_m=0.5)}, {})

    np.testing.assert_array_equal(inputs.stacked("nn1", fold)[:, 0], [0, 10, 20, 30, 40])
    np.testing.assert_array_equal(inputs.stacked("nn2", fold)[:, 17], [0.5, 10.5, 20.5, 30.5, 40.5])


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_test_row_brings_what_the_model_of_the_same_fold_said(fold):
    inputs = StoredInputs.of_test({"nn1": predictions()}, {})

    np.testing.assert_array_equal(inputs.stacked("nn1", fold)[:, 0], [100 * fold, 100 * fold + 1])


def test_taking_rows_takes_them_of_predictions_and_embeddings_in_every_fold():
    rows = np.array([4, 1])

    taken = StoredInputs.of_train({"nn1": predictions()}, embeddings(5)).take(rows)

    for fold in range(3):
        np.testing.assert_array_equal(taken.stacked("nn1", fold)[:, 0], [40, 10])
        np.testing.assert_array_equal(taken.embedding("embed", fold).svd[:, 0], [100 * fold + 4, 100 * fold + 1])
        np.testing.assert_array_equal(taken.embedding("embed", fold).similarity[:, 0], [4, 1])


def test_taking_rows_of_test_inputs_keeps_the_folds_apart():
    taken = StoredInputs.of_test({"nn1": predictions()}, embeddings(2)).take(np.array([1]))

    assert [taken.stacked("nn1", fold)[0, 0] for fold in range(3)] == [1, 101, 201]
    assert [taken.embedding("embed", fold).svd[0, 0] for fold in range(3)] == [1, 101, 201]


def test_an_upstream_that_is_not_there_is_no_zero():
    with pytest.raises(KeyError, match="nn2"):
        StoredInputs.of_test({"nn1": predictions()}, {}).stacked("nn2", 0)
