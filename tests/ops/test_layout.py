"""Shapes, dtypes and strides of outputs, held against what torch really gives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch._prims_common import suggest_memory_format

from costmodel import profile
from costmodel.graph import TensorSpec
from costmodel.ops import layout
from tests.ops._binding import spec_of

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128,
]  # fmt: skip


def named(dtype: torch.dtype) -> str:
    """A dtype as rules write it."""
    return str(dtype).removeprefix("torch.")


@st.composite
def operands(draw: st.DrawFn, most: int = 3) -> list[torch.Tensor]:
    """Tensors that broadcast to one shape, each permuted, expanded, sliced or with dimensions missing."""
    rank = draw(st.integers(0, 5))
    shape = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    found = []
    for _ in range(draw(st.integers(1, most))):
        order = draw(st.permutations(range(rank)))
        steps = draw(st.lists(st.sampled_from([1, 1, 1, 2]), min_size=rank, max_size=rank))
        how = st.sampled_from(["full", "full", "full", "one", "expanded"])
        kept = draw(st.lists(how, min_size=rank, max_size=rank))
        stored = [1 if k != "full" else n * step for n, k, step in zip(shape, kept, steps, strict=True)]
        t = torch.empty([stored[d] for d in order]).permute([order.index(d) for d in range(rank)])
        for d in range(rank):
            if kept[d] == "full":
                t = t[(slice(None),) * d + (slice(None, None, steps[d]),)]
            elif kept[d] == "expanded":
                t = t.expand([shape[d] if i == d else -1 for i in range(rank)])
        gone = draw(st.integers(0, rank)) if found and rank else 0
        while gone and t.shape[0] == 1 and t.dim() > 0:
            t, gone = t[0], gone - 1
        found.append(t)
    return found


def kept_whole(t: torch.Tensor) -> bool:
    """Whether the record has all strides: of a contiguous tensor it drops those of dimensions of length 1."""
    return spec_of(t).full_strides == t.stride()


@given(operands())
@example([torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last)])
@example([torch.empty(1, 3, 4, 5).to(memory_format=torch.channels_last), torch.empty(3, 1, 1)])
def test_elementwise_strides_are_those_of_torch(tensors: list[torch.Tensor]) -> None:
    """An elementwise output keeps the layout of its inputs, whatever their strides."""
    specs = [spec_of(t) for t in tensors]
    assume(all(map(kept_whole, tensors)))
    shape = layout.broadcast([s.shape for s in specs])
    real = torch.neg(tensors[0]) if len(tensors) == 1 else tensors[0] + tensors[1]
    if len(tensors) == 3:
        real = torch.addcmul(*tensors)
    assert shape == tuple(real.shape)
    told = TensorSpec(shape, "float32", layout.elementwise_strides(shape, specs)).full_strides
    assert [s for s, n in zip(told, shape, strict=True) if n != 1] == [
        s for s, n in zip(real.stride(), shape, strict=True) if n != 1
    ]


@given(operands(most=1))
def test_a_copy_like_its_input_has_the_strides_of_torch(tensors: list[torch.Tensor]) -> None:
    """clone() and empty_like() keep a dense layout, and close the gaps of another."""
    (t,) = tensors
    spec = spec_of(t)
    told = TensorSpec(spec.shape, "float32", layout.elementwise_strides(spec.shape, [spec])).full_strides
    for real in (t.clone(), torch.empty_like(t), t.to(torch.float64)):
        assert all(a == b or n == 1 for a, b, n in zip(told, real.stride(), t.shape, strict=True))


@given(operands(most=1))
def test_memory_format_is_guessed_as_torch_does(tensors: list[torch.Tensor]) -> None:
    """Which tensors count as channels last agrees with suggest_memory_format, seen through an op that follows it."""
    (t,) = tensors
    if t.dim() != 4 or not kept_whole(t):
        return
    padded = torch.nn.functional.pad(t, (1, 1, 1, 1))
    shape = tuple(padded.shape)
    told = TensorSpec(shape, "float32", layout.in_format_of(spec_of(t), shape)).full_strides
    assert all(a == b or n == 1 for a, b, n in zip(told, padded.stride(), shape, strict=True))


@pytest.mark.parametrize("dimensions", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_two_tensors_promote_as_in_torch(dimensions: tuple[int, int]) -> None:
    """Every pair of dtypes, of tensors with and without dimensions, promotes as torch.result_type says."""
    for a, b in product(DTYPES, DTYPES):
        x, y = (torch.ones((2,) * rank, dtype=dtype) for rank, dtype in zip(dimensions, (a, b), strict=True))
        told = layout.result_dtype([spec_of(x), spec_of(y)])
        assert told == named(torch.result_type(x, y)), (a, b)


@pytest.mark.parametrize("number", [True, 3, 0.5, 1j])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_tensor_and_a_number_promote_as_in_torch(number: complex, rank: int) -> None:
    """A Python number has a say only where it is of a higher category than the tensor."""
    for dtype in DTYPES:
        x = torch.ones((2,) * rank, dtype=dtype)
        told = layout.result_dtype([spec_of(x), number])
        assert told == named(torch.result_type(x, number)), dtype


@given(st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=3))
def test_shapes_broadcast_as_in_torch(shapes: list[list[int]]) -> None:
    """Shapes broadcast to what torch says, or are refused where torch refuses them."""
    given_shapes = [tuple(s) for s in shapes]
    try:
        real = tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        with pytest.raises(ValueError, match="do not broadcast"):
            layout.broadcast(given_shapes)
    else:
        assert layout.broadcast(given_shapes) == real


def test_an_empty_dimension_broadcasts() -> None:
    """A dimension of length 0 meets one of length 1 as any other length does."""
    assert layout.broadcast([(0, 3), (1, 3)]) == (0, 3)
    x, y = torch.empty(0, 3), torch.empty(1, 3)
    assert tuple((x + y).shape) == (0, 3)
    assert layout.elementwise_strides((0, 3), [spec_of(x), spec_of(y)]) is None


def test_a_scale_has_no_say_in_the_dtype() -> None:
    """Two masks added with the default alpha=1, an integer, are a mask."""
    mask = TensorSpec((2,), "bool")
    assert layout.elementwise({"self": mask, "other": mask, "alpha": 1}).dtype == "bool"
    assert named((torch.ones(2, dtype=torch.bool) + torch.ones(2, dtype=torch.bool)).dtype) == "bool"


def test_a_complex_number_makes_a_real_tensor_complex() -> None:
    """The fast path for operands of one dtype does not miss it."""
    assert layout.elementwise({"self": TensorSpec((2,)), "other": 1j}).dtype == "complex64"


ODD_STRIDES = torch.zeros(1, 49, 16).transpose(1, 2).as_strided((1, 16, 7, 7), (16, 1, 112, 16))
"""Channels last but for the stride of the batch, which is 1 long: tokens seen as a feature map."""


@pytest.mark.parametrize(
    "run",
    [
        torch.relu, torch.sigmoid, torch.nn.functional.gelu, torch.nn.functional.hardtanh, torch.clone,
        torch.empty_like, lambda x: x + 1, lambda x: x * 2.0, lambda x: 2 - x, lambda x: x**2, lambda x: x + x,
        lambda x: x > 0, lambda x: torch.lerp(x, x, 0.5), lambda x: x.to(torch.float64),
        lambda x: torch.nn.functional.dropout(x, 0.5, True),
    ],
)  # fmt: skip
def test_a_stride_that_does_not_matter_is_torchs_too(run: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """It decides whether later reshapes copy: some ops set it right, some keep it, and the rules know which."""

    class Runs(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return run(x)

    assert profile(Runs(), ODD_STRIDES).graph.outputs.full_strides == run(ODD_STRIDES).stride()


@given(
    shape=st.lists(st.integers(0, 3), min_size=3, max_size=5),
    strides=st.lists(st.integers(0, 12), min_size=5, max_size=5),
    order=st.sampled_from(["contiguous", "channels last", "any"]),
)
@example(shape=[2, 0, 3, 4], strides=[0] * 5, order="channels last")
@example(shape=[2, 3, 0, 4], strides=[0] * 5, order="channels last")
@example(shape=[1, 1, 1, 1], strides=[1] * 5, order="any")
@example(shape=[2, 1, 1, 1], strides=[1] * 5, order="any")
def test_the_memory_format_that_torch_suggests(shape: list[int], strides: list[int], order: str) -> None:
    """Channels last by the order of the strides, which a tensor without elements does not have."""
    t = torch.empty_strided(shape, strides[: len(shape)], device="meta")
    if order != "any":
        t = torch.empty(shape, device="meta")
    if order == "channels last" and len(shape) > 3:
        t = t.to(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
    assume(kept_whole(t))
    channels_last = suggest_memory_format(t) in (torch.channels_last, torch.channels_last_3d)
    assert layout.suggested_channels_last(spec_of(t)) == channels_last
