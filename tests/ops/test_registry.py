"""Contracts of the registry: whatever rule is registered, these hold. A new rule is tested once it is registered."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from costmodel.errors import NeedsValuesError
from costmodel.graph import TensorSpec
from costmodel.ops import KINDS, RULES, Torch
from costmodel.ops.rule import Rule, register
from costmodel.quantities import Traffic, Work
from tests.ops import _files
from tests.ops._binding import LAYOUTS, RealCall, resolve, runnable, spec_of

OURS = {target: rule for target, rule in RULES.items() if rule.source != "the user"}
"""Without those of third parties, which other tests register and test."""
DISTINCT = list({id(rule): rule for rule in OURS.values()}.values())
BACKWARD, TIMM = (
    [word for word in (Path(__file__).parent / name).read_text().split() if word.startswith("aten.")]
    for name in ("backward_ops.txt", "timm_ops.txt")
)


IN_SOME = frozenset(
    f"aten.{op}"
    for op in (
        "_dyn_quant_matmul_4bit.default", "_dyn_quant_pack_4bit_weight.default", "_foreach_clone.default",
        "_foreach_mm.default", "_foreach_powsum.Scalar", "_fused_adagrad_.tensor_lr", "_fused_rms_norm.default",
        "_fused_rms_norm_backward.default", "_grouped_mm.default",
        "_scaled_grouped_mm.default", "_scaled_grouped_mm_v2.default", "_scaled_mm_v2.default",
        "_weight_int4pack_mm_with_scales_and_zeros.default", "cholesky.default", "hash_tensor.default",
        "linalg_matrix_sqrth.default", "linalg_polar.default",
    )
)  # fmt: skip
"""Ops that torch had not yet in 2.6, or has no longer in 2.15."""


def cases(rule: Rule, how: str = "as given") -> list[tuple[str, RealCall]]:
    """Every example with every target that this installation can run."""
    found = [(target, runnable(target)) for target in rule.targets]
    return [(target, RealCall.of(op, e, how)) for target, op in found if op is not None for e in rule.examples]


def name_of(rule: Rule) -> str:
    """What a rule is called in a test's name."""
    return rule.targets[0]


def compare(target: str, told: TensorSpec, real: torch.Tensor) -> None:
    """Shape, dtype and (where they matter) strides."""
    is_ = spec_of(real)
    assert (told.shape, told.dtype) == (is_.shape, is_.dtype), target
    if 0 not in is_.shape:
        same = [a == b or n == 1 for a, b, n in zip(told.full_strides, is_.full_strides, is_.shape, strict=True)]
        assert all(same), f"{target}: strides {told.full_strides}, torch has {is_.full_strides} for {is_.shape}"


@pytest.mark.parametrize("target", OURS)
def test_every_target_is_an_op_of_torch(target: str) -> None:
    """A target resolves in torch.ops; those of torchvision, and of what torch loads late, where they are there."""
    if resolve(target) is None and not target.startswith("aten."):
        pytest.skip("needs torchvision, or a torch that has it")
    assert resolve(target) is not None or target in IN_SOME, f"{target} is no op of torch {torch.__version__}"


def test_every_target_stands_with_its_file() -> None:
    """The generated table names the file that registers each target: of an op that is missing no rule is found."""
    written = (_files.OPS / "files.py").read_text()
    assert written == _files.source(_files.found()), "run: python -m tests.ops._files"


def test_no_target_has_two_rules() -> None:
    """A second rule for an op is refused, and leaves the registry as it was."""
    before = dict(RULES)
    with pytest.raises(ValueError, match=r"'aten\.cat\.default' has a rule already"):
        register(RULES["aten.cat.default"])
    assert before == RULES
    assert sum(len(rule.targets) for rule in DISTINCT) == len(OURS)


@pytest.mark.parametrize("target", TIMM)
def test_every_op_of_timm_has_a_rule(target: str) -> None:
    """All aten ops that the 1,371 models of timm 1.0.31 run are priced."""
    assert target in RULES


@pytest.mark.parametrize("target", BACKWARD)
def test_every_op_of_backward_passes_has_a_rule(target: str) -> None:
    """All aten ops that the backward passes of 185 networks run are counted."""
    assert target in RULES


@pytest.mark.parametrize("how", LAYOUTS)
@pytest.mark.parametrize("rule", DISTINCT, ids=name_of)
def test_outputs_are_those_of_torch(rule: Rule, how: str) -> None:
    """Each example, run with real torch for each target, gives the shape, dtype and strides that the rule tells."""
    for target, call in cases(rule, how):
        args = call.arguments()
        first = next(iter(call.bound.values()), None)
        try:
            results = call.run()
        except RuntimeError:
            if how == "as given":
                raise
            continue  # torch refuses some layouts: a view that needs contiguous dimensions
        if call.is_inplace:
            assert not results or results[0] is first, f"{target} returns its first argument, or nothing"
        elif callable(rule.outputs):
            try:
                told = rule.outputs(args)
            except NeedsValuesError:
                assert torch.Tag.dynamic_output_shape in call.op.tags or not target.startswith("aten."), target
                continue
            told = (told,) if isinstance(told, TensorSpec) else tuple(t for t in told if t is not None)
            assert len(told) == len(results), target
            for one, real in zip(told, results, strict=True):
                compare(target, one, real)


@pytest.mark.parametrize("rule", [r for r in DISTINCT if r.outputs is Torch.VIEW], ids=name_of)
def test_view_kernels_run_on_meta(rule: Rule) -> None:
    """torch's view kernel gives on meta tensors what it gives on real ones, on the same storage."""
    for target, call in cases(rule):
        base = next(t for _, t in call.tensors())
        bound = {n: v.to("meta") if isinstance(v, torch.Tensor) else v for n, v in call.bound.items()}
        told = [spec_of(t) for t in RealCall(call.op, bound).run()]
        for one, real in zip(told, call.run(), strict=True):
            compare(target, one, real)
            assert real.untyped_storage().data_ptr() == base.untyped_storage().data_ptr(), f"{target} copies"


@pytest.mark.parametrize("rule", DISTINCT, ids=name_of)
def test_costs_are_counts(rule: Rule) -> None:
    """Kinds are the field's words, work and traffic exact integers, none negative; a rule costs, or says why not."""
    spent = 0
    for target, call in cases(rule):
        record = call.record(call.copy().run())
        assert rule.kind(record) in KINDS, target
        work, traffic = rule.work(record), rule.traffic(record)
        counts = [getattr(work, f.name) for f in fields(Work)] + [getattr(traffic, f.name) for f in fields(Traffic)]
        assert all(type(n) is int and n >= 0 for n in counts), (target, work, traffic)
        assert work.macs_on_padding <= work.macs, target
        spent += sum(counts)
    runs = bool(cases(rule))
    assert rule.source
    assert rule.examples, "a rule shows at least one example"
    if rule.free_because is None:
        assert spent > 0 or not runs, f"{rule.targets} cost nothing and no reason is given"
    else:
        assert rule.free_because
        assert spent == 0
