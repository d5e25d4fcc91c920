"""The inputs of a stacked model: results of its upstreams, from stored tables or from a live servable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from atma18.data.predictions import Predictions
from atma18.schema import FloatArray, IntArray

if TYPE_CHECKING:  # with it comes torch, which commands that need no model do without
    from atma18.embedding import EmbeddingFeatures


class Inputs(Protocol):
    """The upstreams' results for N samples."""

    def stacked(self, name: str, fold: int) -> FloatArray:
        """Return (N, 18) metres: the predictions of the upstream's model of this fold."""

    def embedding(self, name: str, fold: int) -> "EmbeddingFeatures":
        """Return the embedding of the N samples in this fold's basis."""


@dataclass(frozen=True)
class StoredInputs:
    """The upstreams' results, read from their artifacts and joined on ID."""

    by_fold_m: Mapping[str, FloatArray]
    """Per upstream: (K, N, 18) metres."""
    embeddings: Mapping[str, "tuple[EmbeddingFeatures, ...]"]
    """Per upstream and fold: the embedding of N samples."""

    @classmethod
    def of_train(
        cls, predictions: Mapping[str, Predictions], embeddings: Mapping[str, "tuple[EmbeddingFeatures, ...]"]
    ) -> Self:
        """Use the OOF predictions: each training sample has one, by the model of its own fold."""
        by_fold_m = {
            name: np.broadcast_to(p.oof_m, (len(p.test_by_fold_m), *p.oof_m.shape)) for name, p in predictions.items()
        }
        return cls(by_fold_m, embeddings)

    @classmethod
    def of_test(
        cls, predictions: Mapping[str, Predictions], embeddings: Mapping[str, "tuple[EmbeddingFeatures, ...]"]
    ) -> Self:
        """Use the test predictions: each test sample has one per fold."""
        return cls({name: p.test_by_fold_m for name, p in predictions.items()}, embeddings)

    def stacked(self, name: str, fold: int) -> FloatArray:
        """Return (N, 18) metres."""
        return np.asarray(self.by_fold_m[name][fold])

    def embedding(self, name: str, fold: int) -> "EmbeddingFeatures":
        """Return the embedding of N samples in this fold's basis."""
        return self.embeddings[name][fold]

    def take(self, rows: IntArray) -> Self:
        """Return the results of these rows."""
        return type(self)(
            {name: values[:, rows] for name, values in self.by_fold_m.items()},
            {name: tuple(fold.take(rows) for fold in folds) for name, folds in self.embeddings.items()},
        )
