"""Turns an example of a rule into a real call of torch, and that call into the record that a rule is asked about."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._ops import OpOverload

from costmodel.graph import Arguments, OpCall, TensorSpec, channels_last_strides
from costmodel.ops import RULES, layout
from costmodel.ops.rule import Example

OMITTED = ("device", "layout", "pin_memory", "generator")
ON_GPUS = ("aten._scaled_grouped_mm_v2.default",)
"""Ops that have a kernel for any device, which calls one that CPUs lack."""
LAYOUTS = ("as given", "reversed", "channels last")


def resolve(target: str) -> OpOverload | None:
    """The op of that name, where this installation has it."""
    namespace, name, overload = target.split(".")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    return getattr(packet, overload, None) if packet is not None else None


def runnable(target: str) -> OpOverload | None:
    """The op of that name, where it can run here: it has a kernel for the CPU."""
    op = resolve(target)
    if target in ON_GPUS or op is None or not torch._C._dispatch_has_computed_kernel_for_dispatch_key(op.name(), "CPU"):
        return None
    return op


def stored(spec: TensorSpec, how: str) -> TensorSpec:
    """The same tensor stored another way."""
    rank = len(spec.shape)
    if how == "reversed":
        backwards = TensorSpec(spec.shape[::-1]).full_strides[::-1]
        return TensorSpec(spec.shape, spec.dtype, layout.normal(backwards, spec.shape))
    if how == "channels last" and rank in (4, 5):
        return TensorSpec(spec.shape, spec.dtype, layout.normal(channels_last_strides(spec.shape), spec.shape))
    return spec


def tensor(spec: TensorSpec, device: str = "cpu") -> torch.Tensor:
    """A real tensor: floats drawn from 0 to 1, so that they can be probabilities; integers zero, so that they index."""
    dtype = getattr(torch, spec.dtype)
    empty = torch.empty_strided(spec.shape, spec.full_strides, dtype=dtype, device=device)
    if device == "meta":
        return empty
    if dtype.is_floating_point or dtype.is_complex:
        return empty.copy_(torch.rand(spec.shape, dtype=torch.float64))
    return empty.zero_()


def spec_of(t: torch.Tensor) -> TensorSpec:
    """The record of a real tensor."""
    shape = tuple(t.shape)
    return TensorSpec(shape, str(t.dtype).removeprefix("torch."), layout.normal(tuple(t.stride()), shape))


def _mapped(value: Any, kind: type, function: Any) -> Any:
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(v, kind, function) for v in value)
    return value


@dataclass
class RealCall:
    """One call of one op with real tensors, by the argument names of its schema."""

    op: OpOverload
    bound: dict[str, Any]

    @classmethod
    def of(cls, op: OpOverload, example: Example, how: str = "as given", device: str = "cpu") -> RealCall:
        """The call that an example describes."""
        names = [a.name for a in op._schema.arguments if not a.is_out]
        specs = dict(zip(names, example.args, strict=False)) | dict(example.kwargs)
        torch.manual_seed(0)
        bound = {n: _mapped(v, TensorSpec, lambda s: tensor(stored(s, how), device)) for n, v in specs.items()}
        for name in ("dtype", "input_dtype", "out_dtype", "output_dtype", "acc_dtype", "memory_format"):
            if isinstance(bound.get(name), str):
                bound[name] = getattr(torch, bound[name])
        if isinstance(bound.get("batch_sizes"), torch.Tensor):
            # Of a packed sequence, the values are lengths: never more at a later step, all rows together.
            steps, rows = bound["batch_sizes"].numel(), bound["data"].shape[0]
            lengths = [(rows + steps - 1 - i) // steps for i in range(steps)]
            bound["batch_sizes"] = torch.tensor(lengths, dtype=torch.int64)
        for name in ("pivots", "LU_pivots"):
            if name in bound:  # LAPACK's rows, counted from 1: each its own
                bound[name] = (
                    torch.arange(1, bound[name].shape[-1] + 1, dtype=torch.int32).expand_as(bound[name]).clone()
                )
        if "unpool" in op.name():  # the places of values: each its own, for one of several writes of a place would win
            where = bound["indices"]
            plane = where.shape[-2 if "2d" in op.name() else -3 :]
            where.copy_(torch.arange(plane.numel()).view(plane).expand_as(where))
        return cls(op, bound)

    def run(self) -> tuple[torch.Tensor, ...]:
        """Runs the op, random ones with the same seed each time, and returns its tensors."""
        torch.manual_seed(0)
        arguments = [a for a in self.op._schema.arguments if not a.is_out]
        given = [a for a in arguments if a.name in self.bound]
        # By position up to the first that is left out, by name from there on.
        gap = next((i for i, a in enumerate(arguments) if a.kwarg_only or a.name not in self.bound), len(arguments))
        positional = [self.bound[a.name] for a in arguments[:gap]]
        keywords = {a.name: self.bound[a.name] for a in given if a not in arguments[:gap]}
        with warnings.catch_warnings():
            # torch warns of ops that it will drop, and of layouts that cost a copy: rules know both.
            warnings.simplefilter("ignore", UserWarning)
            result = self.op(*positional, **keywords)
        return tuple(t for t in _flat(result) if isinstance(t, torch.Tensor))

    def copy(self) -> RealCall:
        """The same call on copies of its tensors, stored alike."""

        def cloned(t: torch.Tensor) -> torch.Tensor:
            return torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device).copy_(t)

        return RealCall(self.op, {n: _mapped(v, torch.Tensor, cloned) for n, v in self.bound.items()})

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor argument with its name, as ``OpCall.tensors`` names them."""
        for name, value in self.bound.items():
            if isinstance(value, torch.Tensor):
                yield name, value
            elif isinstance(value, list):
                yield from ((f"{name}[{i}]", t) for i, t in enumerate(value) if isinstance(t, torch.Tensor))

    @property
    def is_inplace(self) -> bool:
        """Whether the op writes its first argument."""
        first = self.op._schema.arguments[0].alias_info if self.op._schema.arguments else None
        return first is not None and first.is_write

    def arguments(self) -> Arguments:
        """What a rule's ``outputs`` is given: every argument of the schema, defaults filled in."""
        args: Arguments = {}
        for a in self.op._schema.arguments:
            if a.is_out or a.name in OMITTED:
                continue
            value = self.bound.get(a.name, a.default_value)
            value = list(value) if isinstance(value, tuple) else value
            args[a.name] = _plain(_mapped(value, torch.Tensor, spec_of))
        return args

    def record(self, outputs: Sequence[torch.Tensor]) -> OpCall:
        """What a rule's ``work``, ``traffic``, ``kind`` and ``window`` are given."""
        args = self.arguments()
        first = next(iter(args.values()))
        namespace, _, rest = self.op.name().partition("::")
        name = f"{namespace}.{rest}" if "." in rest else f"{namespace}.{rest}.default"
        if not self.is_inplace:
            specs = tuple(map(spec_of, outputs))
        elif type(first) is TensorSpec:
            specs = (first,)
        else:  # an op that writes into lists of tensors returns nothing, and its rule says which of its arguments
            specs = tuple(RULES[name].outputs(args))  # type: ignore[operator, arg-type]
        return OpCall(name, args, specs, inplace=self.is_inplace)


def _plain(value: Any) -> Any:
    if isinstance(value, (torch.dtype, torch.memory_format)):
        return str(value).removeprefix("torch.")
    return value


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    else:
        yield value
