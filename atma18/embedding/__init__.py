"""Embeddings of image cells by a frozen backbone, their similarity between frames, and a ridge probe on both.

`cells` computes embeddings, `tables` holds them by sample, `probe` fits each fold's SVD and probe, `model` holds all
folds.
"""

from atma18.embedding.cells import cached_cells, cell_count, embed_cells, shape_of, similarity, weights_sha256
from atma18.embedding.model import EmbedModel
from atma18.embedding.probe import FoldEmbedding, explained_variance, fit, fit_baseline, fit_fold
from atma18.embedding.tables import EmbeddingFeatures, EmbeddingTables

__all__ = [
    "EmbedModel",
    "EmbeddingFeatures",
    "EmbeddingTables",
    "FoldEmbedding",
    "cached_cells",
    "cell_count",
    "embed_cells",
    "explained_variance",
    "fit",
    "fit_baseline",
    "fit_fold",
    "shape_of",
    "similarity",
    "weights_sha256",
]
