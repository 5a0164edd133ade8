"""spconv and torchsparse: each rule against a plain torch version of the same arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.ops.third_party._plain import StandIn, profiled

PAIRS = [[(0, 1), (2, 3)], [(0, 0), (1, 1), (2, 2), (3, 3)], [(1, 0), (3, 2)]]


"""Of each of three offsets, which input point meets which output point: of four points on a line."""


def by_pairs(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The convolution, one pair after the other: weight (offset, in, out)."""
    y = torch.zeros(4, weight.shape[2])
    for offset, pairs in enumerate(PAIRS):
        for i, o in pairs:
            y[o] += (features[i : i + 1] @ weight[offset])[0]
    return y


@pytest.mark.parametrize("name", ["SparseConvFunction", "SubMConvFunction", "SparseImplicitGemmFunction"])
def test_spconv_multiplies_the_pairs_of_its_rulebook(stand_in: StandIn, name: str) -> None:
    """Pairs times input times output channels, which the run says; there is no answer on meta tensors."""
    module = "spconv.pytorch.functional"
    numbers = torch.tensor([len(pairs) for pairs in PAIRS])
    if name == "SparseImplicitGemmFunction":
        found = torch.full((3, 4), -1)
        for offset, pairs in enumerate(PAIRS):
            for i, o in pairs:
                found[offset, o] = i
        function = stand_in(
            module, name,
            lambda ctx, features, filters, pair_fwd, pair_bwd, pair_mask_fwd_splits, pair_mask_bwd_splits,
            mask_argsort_fwd_splits, mask_argsort_bwd_splits, num_activate_out, masks, is_train, is_subm:
            by_pairs(features, filters.permute(1, 2, 0)),
        )  # fmt: skip
        rest: tuple[Any, ...] = (found, found, [], [], [], [], 4, [], False, True)
    else:
        if name == "SubMConvFunction":
            numbers = torch.tensor([2, 0, 0])  # the rulebook holds the first of two opposite offsets alone
        function = stand_in(
            module, name,
            lambda ctx, features, filters, indice_pairs, indice_pair_num, num_activate_out, algo:
            by_pairs(features, filters.permute(1, 2, 0)),
        )  # fmt: skip
        rest = (torch.zeros(2, 3, 4), numbers, 4, None)
    p = profiled(lambda x, w: function.apply(x, w, *rest), (4, 5), (6, 3, 5), execution="auto")
    plain = profiled(lambda x, w: by_pairs(x, w.permute(1, 2, 0)), (4, 5), (6, 3, 5), execution="real")
    assert [op.call.op for op in p.pricing.ops] == [f"spconv.{name}.function"]
    assert p.execution == "real"
    assert p.is_exact
    assert p.macs == plain.macs == 8 * 5 * 6


def test_torchsparse_multiplies_the_pairs_of_its_kernel_map(stand_in: StandIn) -> None:
    """By the sizes of the map, or by the map itself, -1 where an output point meets none."""
    module = "torchsparse.nn.functional.conv.func"
    table = torch.full((4, 3), -1)
    for offset, pairs in enumerate(PAIRS):
        for i, o in pairs:
            table[o, offset] = i
    sizes = torch.tensor([2, 4, 2])
    for name, kernel_map, transposed in (
        ("ImplicitGEMMConvolutionFuntion", {"out_in_map": table}, False),
        ("ImplicitGEMMConvolutionFuntion", {"out_in_map": table[:0], "out_in_map_t": table}, True),
        ("GatherScatterConvolutionFuntion", {"nbsizes": sizes}, False),
        ("FetchOnDemandConvolutionFuntion", {"nbsizes": sizes}, False),
    ):
        function = stand_in(
            module,
            name,
            lambda ctx, input, weight, kmap, config, transposed=False: by_pairs(input, weight),
        )
        p = profiled(
            lambda x, w, f=function, m=kernel_map, t=transposed: f.apply(x, w, m, {}, t),
            (4, 5), (3, 5, 6), execution="auto",
        )  # fmt: skip
        assert [op.call.op for op in p.pricing.ops] == [f"torchsparse.{name}.function"]
        assert p.is_exact
        assert p.macs == 8 * 5 * 6
