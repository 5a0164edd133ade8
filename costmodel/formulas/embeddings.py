"""Embeddings: rows looked up in a table, and reduced bag by bag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from costmodel.formulas._arguments import as_shape, lesser, public, require, require_one_of
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas._norms import vector_norm
from costmodel.formulas.cost import LayerCost, as_one
from costmodel.formulas.gradient import NOTHING, BackwardCost, Needs, Saved
from costmodel.quantities import Count, Work, prod
from costmodel.records import dataclass


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
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    complex_valued: bool = False,
) -> LayerCost:
    """One row of d = embedding_dim numbers for each index; ``shape`` is that of the n indices.

    params = num_embeddings d
    flops = 0; renormalised: R (3 d + 3), R = min(n, num_embeddings)
    memory_access = n + 2 n d: the rows are read and written, the rest of the table is not
    memory_access = n + 2 R d in addition, renormalised
    backward: each gradient is added to its row: n d adds, scaled by frequency n d divisions too; g and the indices
    read, the whole table written; sparse: g is the gradient of the rows looked up, nothing moves
    saved: the indices, 8 bytes each

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
    added = Work(adds=outputs, divides=outputs if scale_grad_by_freq else 0)
    dense = BackwardCost(
        read=outputs + prod(indices),
        written=num_embeddings * embedding_dim,
        work=on_numbers(added, complex_valued=complex_valued),
    )
    kept = (Saved("input", prod(indices), 8),)
    looked_up = LayerCost(
        kind="embedding",
        output_shape=(*indices, embedding_dim),
        read=prod(indices) + outputs,
        written=outputs,
        params=num_embeddings * embedding_dim,
        gradient=partial(_of_weight, BackwardCost(saved=kept) if sparse else replace(dense, saved=kept)),
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
    return replace(as_one("embedding", first, looked_up), gradient=looked_up.gradient)


def _of_weight(cost: BackwardCost, needs: Needs) -> BackwardCost:
    return cost if needs.weight else NOTHING


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
    scale_grad_by_freq: bool = False,
    padded: bool = False,
    sparse: bool = False,
) -> LayerCost:
    """Bags of indices, their rows of d = embedding_dim numbers reduced by sum, mean or max.

    Either ``bag_size`` indices in each, of shape (bags, bag_size), or ``indices`` in all, n, with an offset for each
    bag (and the end of the last one). No bag is empty, and no index is padding; ``padded`` is whether one could be, for
    a ``padding_idx`` is set.

    params = num_embeddings d
    flops = (n - bags) d, and one division per output for the mean; weighted: n d multiplies in addition
    memory_access = n + offsets + n d + y, weighted + n; with a bag_size, a kernel writes the offsets, one per bag
    backward: each row gets its bag's gradient: n d adds, as many divisions for the mean, and multiplies if weighted or
    scaled by frequency; of the maximum, bags d adds; of the weights of a sum, n dot products with the rows; a sparse
    gradient has no closed form
    saved: indices, offsets, sizes of bags, 8 bytes each; for mean, max and ``padded`` the bag of each index; for max
    the index behind each output; the weights

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
        gradient=None
        if sparse
        else _BagGradient(
            table=num_embeddings * embedding_dim,
            features=embedding_dim,
            bags=bags,
            indices=count,
            offsets=offsets,
            mode=mode,
            finds_bags=padded or mode != "sum",
            weighted=weighted,
            scaled=weighted or scale_grad_by_freq,
            makes_offsets=bag_size is not None,
        ),
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
    return replace(as_one("embedding", first, reduced), gradient=reduced.gradient)


@dataclass(frozen=True, kw_only=True, slots=True)
class _BagGradient:
    """The gradient of the table, and of the weights in it, that the indices have in a sum."""

    table: Count
    features: Count
    bags: Count
    indices: Count
    offsets: Count
    mode: str
    finds_bags: bool
    """Whether the forward keeps the bag of each index."""
    weighted: bool
    scaled: bool
    makes_offsets: bool

    def __call__(self, needs: Needs) -> BackwardCost:
        of_weights = self.weighted and needs.input(1 if self.makes_offsets else 2)
        if not (needs.weight or of_weights):
            return NOTHING
        n, d, outputs = self.indices, self.features, self.bags * self.features
        read = outputs + n + self.offsets + (n if self.finds_bags else 0)
        cost = BackwardCost(saved=self._saved())
        if of_weights:
            dot = Work(multiplies=d, adds=d - 1).times(n)
            cost += BackwardCost(read=read + self.table, written=n, work=dot)
        if needs.weight:
            found = outputs if self.mode == "max" else self.bags
            read = read + self.bags + found + (n if self.weighted else 0)
            cost += BackwardCost(read=read, written=self.table, work=self._work())
        return cost

    def _work(self) -> Work:
        if self.mode == "max":
            return Work(adds=self.bags * self.features)
        n = self.indices * self.features
        return Work(adds=n, multiplies=n if self.scaled else 0, divides=n if self.mode == "mean" else 0)

    def _saved(self) -> tuple[Saved, ...]:
        # The CPU's kernel finds the bags of the indices with one place to spare, which is not counted.
        return (
            Saved("input 0" if self.weighted or not self.makes_offsets else "input", self.indices, 8),
            Saved("offsets" if self.makes_offsets else "input 1", self.offsets, 8),
            *((Saved("bag of each index", self.indices, 8),) if self.finds_bags else ()),
            Saved("bag sizes", self.bags, 8),
            Saved("greatest", self.bags * self.features if self.mode == "max" else self.bags, 8),
            *((Saved("input 1" if self.makes_offsets else "input 2", self.indices),) if self.weighted else ()),
        )
