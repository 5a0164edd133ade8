"""Embeddings: rows looked up in a table, and reduced bag by bag."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas._arguments import as_shape, public, require, require_one_of
from costmodel.formulas.cost import LayerCost
from costmodel.quantities import Count, Work, prod


@public
def embedding(*, num_embeddings: Count, embedding_dim: Count, shape: Sequence[Count] | Count) -> LayerCost:
    """One row of the table for each index; ``shape`` is that of the indices.

    params = num_embeddings embedding_dim
    flops = 0
    memory_access = indices + 2 indices embedding_dim: the rows are read and written, the rest of the table is not

    Source: Bengio et al., JMLR 3 (2003), section 2.

    >>> embedding(num_embeddings=30522, embedding_dim=768, shape=(1, 128)).memory_access     # BERT's words
    196736
    """
    indices = as_shape(shape)
    require(num_embeddings=num_embeddings, embedding_dim=embedding_dim, shape=indices)
    outputs = prod(indices) * embedding_dim
    return LayerCost(
        kind="embedding",
        output_shape=(*indices, embedding_dim),
        read=prod(indices) + outputs,
        written=outputs,
        params=num_embeddings * embedding_dim,
    )


@public
def embedding_bag(
    *, num_embeddings: Count, embedding_dim: Count, bags: Count, bag_size: Count, mode: str = "mean"
) -> LayerCost:
    """Bags of ``bag_size`` indices each, their rows reduced by sum, mean or max. Indices of shape (bags, bag_size).

    params = num_embeddings embedding_dim
    flops = bags embedding_dim (bag_size - 1), and one division per output for the mean
    memory_access = indices + offsets + rows + y, after a kernel that writes the offsets, one per bag

    Source: torch.nn.EmbeddingBag; Joulin et al., arXiv:1607.01759, section 2.

    >>> embedding_bag(num_embeddings=1000, embedding_dim=16, bags=4, bag_size=10).flops
    640
    """
    require(num_embeddings=num_embeddings, embedding_dim=embedding_dim, bags=bags, bag_size=bag_size)
    require_one_of(mode=mode, choices=("sum", "mean", "max"))
    outputs = bags * embedding_dim
    folds = outputs * (bag_size - 1)
    return LayerCost(
        kind="embedding",
        output_shape=(bags, embedding_dim),
        read=bags * bag_size + bags + bags * bag_size * embedding_dim,
        written=bags + outputs,
        work=Work(
            adds=0 if mode == "max" else folds,
            compares=folds if mode == "max" else 0,
            divides=outputs if mode == "mean" else 0,
        ),
        params=num_embeddings * embedding_dim,
    )
