"""Ops on lists of tensors: the sum of what they do to each, worked by hand for 6 and 4 elements."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import costmodel
from costmodel.graph import TensorSpec
from costmodel.ops import RULES
from costmodel.ops.rule import Example
from costmodel.quantities import Traffic, Work
from tests.ops._binding import RealCall, resolve, runnable

aten = torch.ops.aten
X = [torch.rand(2, 3) + 1, torch.rand(4) + 1]
Y = [torch.rand(2, 3), torch.rand(4)]


def priced(target: str, **arguments: Any) -> tuple[Work, Traffic]:
    """What the rule says of a real call."""
    op = resolve(target)
    assert op is not None
    call = RealCall(op, arguments)
    record = call.record(call.copy().run())
    return RULES[target].work(record), RULES[target].traffic(record)


@pytest.mark.parametrize(
    ("op", "arguments", "done"),
    [
        ("add{}.Scalar", {"scalar": 2.0}, Work(adds=10)),
        ("add{}.List", {"other": Y}, Work(adds=10)),
        ("sub{}.List", {"other": Y, "alpha": 2}, Work(adds=10, multiplies=10)),
        ("mul{}.Tensor", {"other": torch.tensor(2.0)}, Work(multiplies=10)),
        ("div{}.ScalarList", {"scalars": [2.0, 3.0]}, Work(divides=10)),
        ("maximum{}.List", {"other": Y}, Work(compares=10)),
        ("clamp_min{}.Scalar", {"scalar": 0.0}, Work(compares=10)),
        # x^3 of the first takes two multiplications each; x^0.5 of the second is a function.
        ("pow{}.ScalarList", {"exponent": [3.0, 0.5]}, Work(multiplies=12, transcendentals=4)),
        ("pow{}.ScalarList", {"exponent": [-1.0, 1.0]}, Work(divides=6)),
        ("pow{}.List", {"exponent": Y}, Work(transcendentals=10)),
        ("addcmul{}.Scalar", {"tensor1": Y, "tensor2": Y, "value": 1}, Work(multiplies=10, adds=10)),
        # Only the second's scale is not 1.
        ("addcdiv{}.ScalarList", {"tensor1": Y, "tensor2": X, "scalars": [1.0, 2.0]},
         Work(divides=10, adds=10, multiplies=4)),
        ("lerp{}.Scalar", {"tensors1": Y, "weight": 0.5}, Work(adds=20, multiplies=10)),
        ("sqrt{}.default", {}, Work(transcendentals=10)),
        ("sigmoid{}.default", {}, Work(transcendentals=10, adds=10, divides=10)),
        ("reciprocal{}.default", {}, Work(divides=10)),
        ("neg{}.default", {}, Work()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["", "_"])
def test_elementwise(op: str, arguments: dict[str, Any], done: Work, place: str) -> None:
    """The same arithmetic in place and out of place; in place the list is written over."""
    work, traffic = priced(f"aten._foreach_{op.format(place)}", self=X, **arguments)
    assert work == done
    given = sum(t.numel() for v in arguments.values() for t in (v if isinstance(v, list) else [v])
                if isinstance(t, torch.Tensor))  # fmt: skip
    assert (traffic.read, traffic.written) == (10 + given, 10)


def test_reductions() -> None:
    """A norm squares 10 elements, adds 5 and 3 times, and takes two roots; a maximum compares 5 and 3 times."""
    assert priced("aten._foreach_norm.Scalar", self=X)[0] == Work(multiplies=10, adds=8, transcendentals=2)
    assert priced("aten._foreach_norm.Scalar", self=X, ord=1)[0] == Work(adds=8)
    assert priced("aten._foreach_max.default", self=X)[0] == Work(compares=8)


def test_what_is_written_over_is_not_read() -> None:
    """A copy reads its source alone, and zeros nothing."""
    assert priced("aten._foreach_copy_.default", self=X, src=Y) == (
        Work(), Traffic(read=10, written=10, read_bytes=40, written_bytes=40)
    )  # fmt: skip
    assert priced("aten._foreach_zero_.default", self=X)[1] == Traffic(written=10, written_bytes=40)


def test_every_op_on_lists_has_a_rule() -> None:
    """All of this torch, but for the variants that write into given tensors, which no forward runs."""
    ops = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::_foreach_")]
    targets = [name.replace("::", ".") + ("" if "." in name else ".default") for name in ops]
    assert [t for t in targets if t not in RULES and not t.endswith("out")] == []


class Seen(TorchDispatchMode):
    """Notes each op and its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[RealCall] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = [a.name for a in func._schema.arguments]
        self.calls.append(RealCall(func, dict(zip(names, args, strict=False)) | (kwargs or {})))
        return func(*args, **(kwargs or {}))


def of_singles(call: RealCall) -> Work:
    """What the op without ``_foreach`` does of each item of the lists, with what is given for all."""
    name = call.op._schema.name.removeprefix("aten::_foreach_").removesuffix("_")
    others = {"norm": "linalg_vector_norm", "copy": "copy_", "zero": "zero_"}
    if call.op._schema.overload_name.startswith("Scalar"):
        others |= {"maximum": "clamp_min", "minimum": "clamp_max"}
    single = getattr(aten, others.get(name, name))
    found = Work()
    for i in range(len(X)):
        items = [v[i] if isinstance(v, list) else v for v in call.bound.values()]
        keywords = {}
        if name in ("addcmul", "addcdiv"):
            scale = items.pop()
            keywords["value"] = scale[i].item() if isinstance(scale, torch.Tensor) else scale
        with Seen() as seen:
            single(*items, **keywords)
        (real,) = seen.calls
        record = real.record(real.copy().run())
        found = found + RULES[record.op].work(record)
    return found


FUSED = [t for t in RULES if t.startswith("aten._fused_") and t.split(".")[1].endswith("_") and runnable(t) is not None]
IN_PLACE = [t for t in RULES if t.startswith("aten._foreach_") and t.split(".")[1].endswith("_")]


@pytest.mark.parametrize("target", [*IN_PLACE, *FUSED])
def test_what_an_op_on_lists_writes(target: str) -> None:
    """In real torch those arguments get other values, and no others, that the rule says are written."""
    op = resolve(target)
    assert op is not None
    (case,) = RULES[target].examples
    changed: set[str] = set()
    for factor, shift in ((-1.5, 0.0), (1.0, 3.25)):  # each function changes one of these, or both
        call = RealCall.of(op, case)
        for name, tensor in call.tensors():
            tensor.mul_(factor).add_(shift if name.startswith("self") else 0)
        before, after = dict(call.copy().tensors()), dict(call.tensors())
        record = call.record(call.run())
        changed |= {name for name, tensor in before.items() if not same(tensor, after[name])}
    written = {name for name, spec in record.tensors() if any(spec is y for y in record.outputs)}
    assert changed == written
    assert record.inplace


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same values."""
    return torch.equal(torch.nan_to_num(a, 7), torch.nan_to_num(b, 7))


def fused(target: str, **changed: Any) -> tuple[Work, Traffic]:
    """What the rule says of its example with other settings, which real torch takes."""
    op = resolve(target)
    assert op is not None
    call = RealCall.of(op, RULES[target].examples[0])
    call.bound |= changed
    record = call.record(call.copy().run())
    return RULES[target].work(record), RULES[target].traffic(record)


def test_settings_of_a_fused_update() -> None:
    """Of 10 elements in 2 tensors, by hand: what is switched off is neither computed nor read."""
    plain = fused("aten._fused_sgd_.default", momentum=0.0, weight_decay=0.0, momentum_buffer_list=[])
    assert plain == (Work(multiplies=10, adds=10), Traffic(read=20, written=10, read_bytes=80, written_bytes=40))
    first = fused("aten._fused_sgd_.default", is_first_step=True, weight_decay=0.0)
    assert first == (Work(multiplies=10, adds=10), Traffic(read=20, written=20, read_bytes=80, written_bytes=80))
    nesterov = fused("aten._fused_sgd_.default", nesterov=True, dampening=0.0, weight_decay=0.0)
    assert nesterov[0] == Work(multiplies=30, adds=30)
    adam = fused("aten._fused_adam_.default", amsgrad=False, max_exp_avg_sqs=[], weight_decay=0.0)
    assert adam[0] == Work(multiplies=50, adds=50, divides=20, transcendentals=10)
    assert (adam[1].read, adam[1].written) == (4 * 10 + 2, 3 * 10)
    scaled = fused("aten._fused_adamw_.default", grad_scale=torch.tensor(2.0), found_inf=torch.tensor(0.0))
    assert scaled[0] == Work(multiplies=60, adds=50, compares=10, divides=30, transcendentals=10)
    assert (scaled[1].read, scaled[1].written) == (5 * 10 + 2 + 2, 5 * 10)


LISTS = [t for t in RULES if t.startswith("aten._foreach_") and "powsum" not in t and resolve(t) is not None]


@pytest.mark.parametrize("complex_numbers", [False, True])
@pytest.mark.parametrize("target", LISTS)
def test_a_list_is_so_many_tensors(target: str, complex_numbers: bool) -> None:
    """The work is that of the op without ``_foreach``, summed over the tensors, of real and of complex numbers."""
    op = resolve(target)
    assert op is not None
    (case,) = RULES[target].examples
    call = RealCall.of(op, of_complex(case) if complex_numbers else case)
    try:
        results = call.copy().run()
    except RuntimeError:
        assert complex_numbers  # which have no order, no sign and no error function
        return
    record = call.record(results)
    assert RULES[target].work(record) == of_singles(call)


def of_complex(case: Example) -> Example:
    """The example with complex tensors."""

    def changed(value: Any) -> Any:
        if isinstance(value, TensorSpec):
            return TensorSpec(value.shape, "complex64")
        return [changed(v) for v in value] if isinstance(value, list) else value

    return Example(tuple(map(changed, case.args)), case.kwargs)


def test_sums_of_powers() -> None:
    """A norm without its root: of 10 numbers, added 5 and 3 times."""
    target = "aten._foreach_powsum.Scalar"
    for order, done in (
        (2, Work(multiplies=10)), (1, Work()), (0, Work(compares=10)), (3.5, Work(transcendentals=10)),
    ) if resolve(target) is not None else ():  # fmt: skip  # new in torch 2.9
        assert priced(target, self=X, ord=order)[0] == done + Work(adds=8)
        parts = priced(target, self=[torch.rand(5, dtype=torch.complex64)], ord=2)[0]
        assert parts == Work(multiplies=10, adds=9)


class Updates(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        moments = [x.clone(), y.clone()]
        torch._foreach_mul_(moments, 0.9)
        torch._foreach_addcmul_(moments, [x, y], [x, y], 0.1)
        return list(torch._foreach_sqrt(moments))


def test_a_model_may_run_them() -> None:
    """An optimizer's moments in a forward: in place on lists, and a list that is returned."""
    profile = costmodel.profile(Updates(), ((2, 3), (4,)))
    assert profile.is_exact
    assert profile.flops == 10 * (1 + 3 + 1)
    assert [t.shape for t in profile.graph.outputs] == [(2, 3), (4,)]
