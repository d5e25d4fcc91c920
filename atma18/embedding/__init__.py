"""What a frozen backbone sees: embeddings of image cells, their similarity between frames, and a probe on both.

`cells` looks, `tables` is what samples are handed on as, `probe` what each fold makes of them, `model` all of it.
"""

from atma18.embedding.cells import cached_cells, cell_count, embed_cells, similarity, weights_sha256
from atma18.embedding.model import EMBEDDING, EmbedModel
from atma18.embedding.probe import FoldEmbedding, explained_variance, fit, fit_fold
from atma18.embedding.tables import EmbeddingFeatures, EmbeddingTables

__all__ = [
    "EMBEDDING",
    "EmbedModel",
    "EmbeddingFeatures",
    "EmbeddingTables",
    "FoldEmbedding",
    "cached_cells",
    "cell_count",
    "embed_cells",
    "explained_variance",
    "fit",
    "fit_fold",
    "similarity",
    "weights_sha256",
]
