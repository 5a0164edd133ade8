"""Embeddings: rows looked up in a table, and reduced bag by bag."""

from __future__ import annotations

from collections.abc import Sequence

from costmodel.formulas._arguments import as_shape, lesser, public, require, require_one_of
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas._norms import vector_norm
from costmodel.formulas.cost import LayerCost, as_one
from costmodel.quantities import Count, Work, prod


def _renormalised(
    *, indices: Count, num_embeddings: Count, embedding_dim: Count, norm_type: float, complex_valued: bool
) -> LayerCost:
    """The kernel that shortens the rows looked up, in the table: the most that it does, as the values decide."""
    rows = lesser(indices, num_embeddings)
    row = vector_norm(of=embedding_dim, order=norm_type, complex_valued=complex_valued)
    scaled = on_numbers(Work(multiplies=embedding_dim), complex_valued=complex_valued)
    factor = Work(compares=1, adds=1, divides=1)  # max_norm / (norm + 1e-7), where the norm is above max_norm
    elements = rows * embedding_dim
    return LayerCost(
        kind="embedding",
        output_shape=(num_embeddings, embedding_dim),
        read=indices + elements,
        written=elements,
        work=(row + factor + scaled).times(rows),
    )


@public
def embedding(
    *,
    num_embeddings: Count,
    embedding_dim: Count,
    shape: Sequence[Count] | Count,
    renormalised: bool = False,
    norm_type: float = 2,
    complex_valued: bool = False,
) -> LayerCost:
    """One row of d = embedding_dim numbers for each index; ``shape`` is that of the n indices.

    params = num_embeddings d
    flops = 0; renormalised: R (3 d + 3), R = min(n, num_embeddings)
    memory_access = n + 2 n d: the rows are read and written, the rest of the table is not
    memory_access = n + 2 R d in addition, renormalised

    Renormalised is with ``max_norm``: before the look-up, a kernel scales rows that are too long in the table itself.
    How many are too long, or looked up twice, depends on values: R is the most. Per row: its 2-norm (d multiplies,
    d - 1 adds, 1 root; another ``norm_type``: its own), a comparison, an addition, a division, d multiplies.
    Source: Bengio et al., JMLR 3 (2003), section 2; torch.nn.Embedding.

    >>> embedding(num_embeddings=30522, embedding_dim=768, shape=(1, 128)).memory_access     # BERT's words
    196736
    >>> embedding(num_embeddings=9, embedding_dim=4, shape=6, renormalised=True).flops       # 6 x 15
    90
    """
    indices = as_shape(shape)
    require(num_embeddings=num_embeddings, embedding_dim=embedding_dim, shape=indices)
    outputs = prod(indices) * embedding_dim
    looked_up = LayerCost(
        kind="embedding",
        output_shape=(*indices, embedding_dim),
        read=prod(indices) + outputs,
        written=outputs,
        params=num_embeddings * embedding_dim,
    )
    if not renormalised:
        return looked_up
    first = _renormalised(
        indices=prod(indices),
        num_embeddings=num_embeddings,
        embedding_dim=embedding_dim,
        norm_type=norm_type,
        complex_valued=complex_valued,
    )
    return as_one("embedding", first, looked_up)


@public
def embedding_bag(
    *,
    num_embeddings: Count,
    embedding_dim: Count,
    bags: Count,
    bag_size: Count | None = None,
    mode: str = "mean",
    indices: Count | None = None,
    include_last_offset: bool = False,
    weighted: bool = False,
    renormalised: bool = False,
    norm_type: float = 2,
) -> LayerCost:
    """Bags of indices, their rows of d = embedding_dim numbers reduced by sum, mean or max.

    Either ``bag_size`` indices in each, of shape (bags, bag_size), or ``indices`` in all, n, with an offset for each
    bag (and the end of the last one). No bag is empty, and no index is padding.

    params = num_embeddings d
    flops = (n - bags) d, and one division per output for the mean; weighted: n d multiplies in addition
    memory_access = n + offsets + n d + y, weighted + n; with a bag_size, a kernel writes the offsets, one per bag

    Renormalised (``max_norm``): a kernel before it, as in embedding.
    Source: torch.nn.EmbeddingBag; Joulin et al., arXiv:1607.01759, section 2.

    >>> embedding_bag(num_embeddings=1000, embedding_dim=16, bags=4, bag_size=10).flops
    640
    >>> embedding_bag(num_embeddings=9, embedding_dim=4, bags=2, indices=7, mode="sum").flops     # (7 - 2) x 4
    20
    """
    require_one_of(mode=mode, choices=("sum", "mean", "max"))
    if (bag_size is None) == (indices is None):
        raise ValueError("give either bag_size, where every bag has as many indices, or the indices in all")
    count = indices if bag_size is None else bags * bag_size
    require(num_embeddings=num_embeddings, embedding_dim=embedding_dim, bags=bags, indices=count)
    offsets = bags + 1 if include_last_offset else bags
    outputs, rows = bags * embedding_dim, count * embedding_dim
    reduced = LayerCost(
        kind="embedding",
        output_shape=(bags, embedding_dim),
        read=count + offsets + rows + (count if weighted else 0),
        written=outputs + (0 if bag_size is None else offsets),
        work=Work(
            adds=0 if mode == "max" else rows - outputs,
            compares=rows - outputs if mode == "max" else 0,
            divides=outputs if mode == "mean" else 0,
            multiplies=rows if weighted else 0,
        ),
        params=num_embeddings * embedding_dim,
    )
    if not renormalised:
        return reduced
    first = _renormalised(
        indices=count,
        num_embeddings=num_embeddings,
        embedding_dim=embedding_dim,
        norm_type=norm_type,
        complex_valued=False,
    )
    return as_one("embedding", first, reduced)
