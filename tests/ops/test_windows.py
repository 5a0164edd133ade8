"""What a rule says an output sees, held against what real torch reads: one input element is poisoned at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch

from costmodel.access import AccessMap, Affine, All, AxisMap, Fixed, Reshaped, Rolled
from costmodel.graph import OpCall
from costmodel.ops import RULES, Torch
from costmodel.ops.access import everything
from costmodel.ops.rule import Rule
from tests.ops._binding import RealCall, runnable

DISTINCT = list({id(rule): rule for rule in RULES.values()}.values())
Position = tuple[int, ...]

NOT_ON_THE_PATH = {
    "weight", "bias", "running_mean", "running_var", "params", "w_ih", "w_hh", "b_ih", "b_hh", "scale_factor",
    "attn_mask", "hx", "cx", "per_sample_weights", "random_samples", "rois",
}  # fmt: skip
"""Parameters, statistics, masks and initial states: an access map may leave out what is not the network's input. A box
names the image that it is in, and kernels read beyond the batch where there is none of that number."""

CLAMPED = (
    "aten.reflection_pad", "aten.replication_pad", "aten.upsample_linear", "aten.upsample_bilinear",
    "aten.upsample_trilinear",
)  # fmt: skip
"""Near their border they read what lies inside, where the access says "outside the input", as for zero padding: padding
mirrors or repeats (``costmodel.ops.padding``), linear upsampling reads a second position with weight zero."""

CRASHES_ON_NAN = ("aten::_linalg_eigvals", "torchvision::")
"""How the names of ops begin that read out of bounds there: LAPACK, and boxes and offsets that are no number."""

TIGHT = ("costmodel.ops.shape", "costmodel.ops.movement", "costmodel.ops.convolution")
LOOSE = {
    "aten.as_strided.default": "any position may be read",
    "aten.unfold.default": "its window follows two output dimensions at once",
    "aten.unfold_copy.default": "its window follows two output dimensions at once",
    "aten.view.dtype": "elements are joined and split",
    "aten.roll.default": "without dimensions, the flattened tensor is rolled",
    "aten.slice_scatter.default": "which positions are overwritten is not told",
    "aten.select_scatter.default": "which positions are overwritten is not told",
    "aten.tril.default": "which positions are kept is not told",
    "aten.cat.default": "torch skips empty tensors",
    "aten.stack.default": "a tap tells where in an input an output looks, not which outputs look at all",
    "aten.convolution.default": "strides leave gaps between taps, which an interval covers",
}
"""Where an access map may claim more than is read, and why."""


def name_of(rule: Rule) -> str:
    """What a rule is called in a test's name."""
    return rule.targets[0]


def examples(rule: Rule) -> Iterator[RealCall]:
    """Every example, with the first target."""
    op = runnable(rule.targets[0])
    for one in rule.examples if op is not None else ():
        yield RealCall.of(op, one)


def sees(tap: AxisMap, position: int, output: Position, length: int) -> bool:
    """Whether an output position sees this position of one input dimension."""
    match tap:
        case Affine(dim=dim):
            low, high = tap.pull(output[dim], output[dim])
            return low <= position <= high
        case Rolled(dim=dim, shift=shift):
            return position == (output[dim] - shift) % length
        case Fixed(index=index):
            return position == index
        case All():
            return True


def flat_index(position: Position, shape: Position) -> int:
    """Which element that is, in row-major order."""
    index = 0
    for p, n in zip(position, shape, strict=True):
        index = index * n + p
    return index


def claims(
    access: AccessMap, name: str, position: Position, shape: Position, output: Position, out_shape: Position
) -> bool:
    """Whether the access says that the output position sees this position of the named input."""
    if isinstance(access, Reshaped):
        return name == access.arg and flat_index(position, shape) == flat_index(output, out_shape)
    taps = access.get(name)
    return taps is not None and all(sees(t, p, output, n) for t, p, n in zip(taps, position, shape, strict=True))


def some(shape: Position, at_most: int) -> list[Position]:
    """Positions of a tensor, spread evenly where there are many."""
    every = list(product(*map(range, shape)))
    return every[:: max(1, -(-len(every) // at_most))]


def differing(call: RealCall, name: str, position: Position, before: list[torch.Tensor]) -> list[list[Position]]:
    """For each output, the positions that change when one input element turns NaN, or (where that is lost) large."""
    changed: list[set[Position]] = [set() for _ in before]
    for poison in (1e4,) if call.op.name().startswith(CRASHES_ON_NAN) else (float("nan"), 1e4):
        if any(changed):
            break
        poisoned = call.copy()
        dict(poisoned.tensors())[name][position] = poison
        try:
            after = poisoned.run()
        except (RuntimeError, AssertionError):
            continue  # no probability, for instance; or a number that the op does not take
        for found, a, b in zip(changed, before, after, strict=True):
            same = a == b
            if a.is_floating_point() or a.is_complex():
                same |= torch.isnan(a) & torch.isnan(b)
            found.update(map(tuple, (~same).nonzero().tolist()))
    return [sorted(found) for found in changed]


@pytest.mark.parametrize("rule", DISTINCT, ids=name_of)
def test_sights_are_well_formed(rule: Rule) -> None:
    """Every output of every example has an access map: for each dimension one that points at a dimension."""
    for call in examples(rule):
        record = call.record(call.copy().run())
        tensors = dict(record.tensors())
        for i, y in enumerate(record.outputs):
            access = rule.access(record, i)
            if isinstance(access, Reshaped):
                assert tensors[access.arg].size == y.size
                continue
            for name, taps in access.items():
                shape = tensors[name].shape
                assert len(taps) == len(shape), f"{rule.targets[0]}: {len(taps)} taps for {name} {shape}"
                for tap, n in zip(taps, shape, strict=True):
                    well_formed(tap, n, len(y.shape))


def well_formed(tap: AxisMap, length: int, rank: int) -> None:
    """Fails for a tap that points nowhere."""
    match tap:
        case Affine(dim=dim):
            assert 0 <= dim < rank
        case Rolled(dim=dim, length=told):
            assert 0 <= dim < rank
            assert told == length
        case Fixed(index=index):
            assert 0 <= index < length
        case _:
            assert isinstance(tap, All)


@pytest.mark.parametrize("rule", DISTINCT, ids=name_of)
def test_nothing_is_seen_that_is_not_told(rule: Rule) -> None:
    """Every output element that changes with an input element lies where the access says that it is seen."""
    if rule.free_because and rule.outputs is not Torch.VIEW:
        return  # fresh memory holds anything
    is_clamped = rule.access is not everything and rule.targets[0].startswith(CLAMPED)
    for call in examples(rule):
        before, record = observed(call)
        sights = [rule.access(record, i) for i in range(len(record.outputs))]
        for name, t in call.tensors():
            if not t.is_floating_point() or name.split("[")[0] in NOT_ON_THE_PATH:
                continue
            for position in some(tuple(t.shape), at_most=5):
                for i, changed in enumerate(differing(call, name, position, before)):
                    access, out_shape = sights[i], record.outputs[i].shape
                    for output in changed:
                        if is_clamped and on_border(access, output, tuple(t.shape)):
                            continue
                        assert claims(access, name, position, tuple(t.shape), output, out_shape), (
                            f"{rule.targets[0]}: output {i} at {output} of {out_shape} sees {name} at {position} of "
                            f"{tuple(t.shape)}, the access tells {access}"
                        )


def observed(call: RealCall) -> tuple[list[torch.Tensor], OpCall]:
    """What the op returns unpoisoned, and the record of the call."""
    copy = call.copy()
    results = copy.run()
    return [t.clone() for t in results], call.record(results)


def on_border(access: AccessMap, output: Position, shape: Position) -> bool:
    """Whether the output position is told to see something outside the input."""
    assert not isinstance(access, Reshaped)
    intervals = [t.pull(output[t.dim], output[t.dim]) if isinstance(t, Affine) else (0, 0) for t in access["self"]]
    return any(low < 0 or high >= n for (low, high), n in zip(intervals, shape, strict=True))


@pytest.mark.parametrize(
    "rule",
    [r for r in DISTINCT if r.access.__module__ in TIGHT and r.targets[0] not in LOOSE],
    ids=name_of,
)
def test_nothing_is_told_that_is_not_seen(rule: Rule) -> None:
    """The sights of views and copies are exact: an output element told to see an input element changes with it."""
    for call in examples(rule):
        before, record = observed(call)
        for name, t in call.tensors():
            if not t.is_floating_point():
                continue
            for position in some(tuple(t.shape), at_most=8):
                for i, changed in enumerate(differing(call, name, position, before)):
                    access, out_shape = rule.access(record, i), record.outputs[i].shape
                    told = [
                        output
                        for output in product(*map(range, out_shape))
                        if claims(access, name, position, tuple(t.shape), output, out_shape)
                    ]
                    assert told == changed, f"{rule.targets[0]}: {name} at {position}, output {i}"


@pytest.mark.parametrize(("size", "step"), [(1, 1), (3, 1), (3, 2), (2, 3)])
def test_an_unfolded_window_is_of_its_size(size: int, step: int) -> None:
    """Window i of a dimension begins at i times the step; its positions have a dimension of their own."""
    op = runnable("aten.unfold.default")
    assert op is not None
    x = torch.arange(20).reshape(2, 10)
    call = RealCall(op, {"self": x, "dimension": 1, "size": size, "step": step})
    (y,), record = observed(call)
    access = RULES["aten.unfold.default"].access(record, 0)
    assert not isinstance(access, Reshaped)
    _, along = access["self"]
    assert isinstance(along, Affine)
    assert [along.pull(i, i) for i in range(y.shape[1])] == [(int(w[0]), int(w[-1])) for w in y[0]]


def test_a_wrong_sight_is_found() -> None:
    """The poison finds a window that is one too small, and a slice that begins one too late."""
    call = next(examples(RULES["aten.slice.Tensor"]))
    before, record = observed(call)
    (changed,) = differing(call, "self", (0, 1, 0), before)
    shape, out_shape = (2, 3, 4), record.outputs[0].shape
    honest = RULES["aten.slice.Tensor"].access(record, 0)
    late: AccessMap = {"self": (Affine(0), Affine(1, 1, 2, 2), Affine(2))}
    assert changed == [(0, 0, 0)]
    assert claims(honest, "self", (0, 1, 0), shape, changed[0], out_shape)
    assert not claims(late, "self", (0, 1, 0), shape, changed[0], out_shape)
