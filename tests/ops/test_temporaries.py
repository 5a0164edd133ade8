"""Each rule's peak, its outputs and temporaries, is what the allocator gives a real run of the op, to the byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from costmodel.graph import TensorSpec, tensors_in
from costmodel.ops import COMPOSITES, RULES, Torch
from costmodel.ops.rule import Example
from tests.live_memory import allocations, peak
from tests.ops._binding import LAYOUTS, RealCall, runnable
from tests.ops._scaling import large

BOOKKEEPING = 128
"""So many bytes are not told: a Python number as a tensor, an op's own notes on dimensions."""

DRAWN_FROM_VALUES = {
    "aten.isin.": "how many of the sorted elements stay is a matter of their values",
    "aten._unique2.": "how many of the sorted elements stay is a matter of their values",
    ".data": "how many sequences go on at each step stands in the values of batch_sizes",
}
BY_THE_BUILD = {
    "aten._fft_": "the copies are those of the library that torch was built with: MKL or pocketFFT",
}
NOT_MEASURED = DRAWN_FROM_VALUES | BY_THE_BUILD
"""Ops whose peak no rule can tell exactly, and why."""

UNTOLD = (
    "_cdist_forward", "_euclidean_dist", "dist", "allclose", "renorm", "renorm_", "linalg_lu", "lu_unpack",
    "linalg_cholesky_ex", "cholesky", "linalg_ldl_factor_ex", "narrow_copy", "linalg_qr", "_linalg_eigh", "linalg_eig",
    "_linalg_eigvals", "_unsafe_masked_index", "_unsafe_masked_index_put_accumulate", "_linalg_svd", "index_reduce",
    "index_reduce_", "_linalg_solve_ex", "linalg_lu_solve", "linalg_solve_triangular", "mse_loss", "cholesky_solve",
    "linalg_ldl_solve", "smooth_l1_loss", "_linalg_det", "_linalg_slogdet", "linalg_inv_ex", "linalg_matrix_exp",
    "linalg_pinv", "soft_margin_loss", "binary_cross_entropy", "linalg_lstsq", "_linalg_check_errors",
    "binary_cross_entropy_with_logits", "nll_loss_forward", "nll_loss2d_forward", "multi_margin_loss",
    "_fake_quantize_learnable_per_tensor_affine", "multilabel_margin_loss_forward",
    "_fake_quantize_learnable_per_channel_affine", "_softmax_backward_data", "unfold_backward", "histogram",
    "normal.float_Tensor", "mvlgamma", "mvlgamma_", "special_entr", "ldexp", "ldexp_", "max_unpool2d", "max_unpool3d",
    "fractional_max_pool2d", "fractional_max_pool3d", "max_pool2d_with_indices_backward", "blackman_window",
    "kaiser_window", "unique_consecutive", "median.default", "nanmedian",
)  # fmt: skip
"""Ops whose temporaries are still to be told: the test of one that is told fails until it is taken off this list."""

NOT_LARGE = {
    "space.": "a tensor among its arguments is a number",
    "aten.empty_permuted.": "its strides are arguments too",
    "aten._reshape_alias_copy.": "its strides are arguments too",
    "aten.scalar_tensor.": "it makes one value",
    "aten._local_scalar_dense.": "it reads one value",
    "aten._assert_": "it looks at one value, or at none",
    "aten.native_group_norm.": "its sizes are arguments too: measured as aten.group_norm",
    "aten.empty_strided.": "its strides are arguments too",
    "aten.affine_grid_generator.": "its sizes are arguments too: one of its examples is large",
}
"""Ops that are measured at their examples alone, and why."""


def told(target: str, call: RealCall, results: tuple[torch.Tensor, ...]) -> list[TensorSpec] | None:
    """Every tensor that the rule says the op allocates; ``None`` where torch decomposes the op."""
    composite, args = COMPOSITES.get(target), call.arguments()
    rule = RULES[target if composite is None else composite.core]
    if composite is not None:
        if composite.is_identity(args):
            return []
        lowered = composite.arguments(args)
        if lowered is None:
            return None
        args = lowered
    outputs: list[TensorSpec] = []
    if callable(rule.outputs) and not call.is_inplace:
        outputs = list(tensors_in(rule.outputs(args)))
    elif rule.outputs is Torch.META:
        outputs = [TensorSpec(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in results]
    if composite is not None and composite.temporaries is not None:
        return [*outputs[:1], *composite.temporaries(args)]
    return [*outputs, *rule.temporaries(args)]


def calls(target: str, examples: tuple[Example, ...]) -> Iterator[tuple[str, RealCall]]:
    """Each example as it is and large, in every layout that torch takes."""
    op = runnable(target)
    if op is None:
        return
    for i, small in enumerate(examples):
        grown = (
            None
            if any(part in target for part in NOT_LARGE)
            else large(op, small, lambda call: told(target, call, ()) is not None)
        )
        for size, example in (("small", small), ("large", grown)):
            seen: list[list[tuple[int, ...]]] = []
            for how in LAYOUTS if example is not None else ():
                call = RealCall.of(op, example, how)
                strides = [tensor.stride() for _, tensor in call.tensors()]
                if strides in seen or (seen and "params" in call.bound):
                    continue  # the weights of a recurrent layer lie in one piece
                seen.append(strides)
                for name, tensor in call.tensors():
                    if tensor.is_floating_point() and name.split("[")[0] in ("weight", "bias", "params"):
                        tensor.requires_grad_()  # as a parameter does: a product with one is done otherwise
                yield f"{target} example {i}, {size}, {how}", call


EXAMPLES = {target: rule.examples for target, rule in RULES.items()} | {
    target: composite.examples for target, composite in COMPOSITES.items()
}
MEASURED = [t for t in EXAMPLES if not any(part in t for part in NOT_MEASURED)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More threads have more workspaces."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _is_untold(target: str) -> bool:
    return any(target.startswith(f"aten.{op}" if "." in op else f"aten.{op}.") for op in UNTOLD)


@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=pytest.mark.xfail(strict=True)) if _is_untold(t) else t for t in MEASURED]
)
def test_the_peak_is_that_of_a_real_run(target: str) -> None:
    """Outputs and temporaries together are the most that the allocator holds while the op runs."""
    wrong, sizes = {}, set()
    for which, call in calls(target, EXAMPLES[target]):
        try:
            with torch.no_grad():
                results = call.copy().run()
        except RuntimeError:
            assert "as given" not in which
            continue  # torch refuses some layouts
        tensors = told(target, call, results)
        if tensors is None:
            continue  # torch decomposes this composite
        sizes.add("large" in which)
        found = allocations(call.run)
        expected, held = sum(t.nbytes for t in tensors), peak(found)
        if abs(expected - held) > BOOKKEEPING:
            wrong[which] = f"told {expected}, held {held}"
    assert not wrong
    assert True in sizes or runnable(target) is None or any(part in target for part in NOT_LARGE)
