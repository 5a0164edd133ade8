"""Answers ops on meta tensors without computing them, except for small constants, whose values a model may read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, TensorSpec, tensors_in
from costmodel.ops import Torch
from costmodel.trace.deferred import Constants
from costmodel.trace.dispatch_cache import (
    CachedOutput,
    Dispatch,
    Identity,
    NewTensor,
    NewTensors,
    View,
    Written,
    WrittenLists,
)
from costmodel.trace.executor import Direct, Executor, leaves, map_leaves
from costmodel.trace.plan import How, Plan
from costmodel.trace.specs import CPU, META, empty_meta
from costmodel.trace.tensor_meta import meta_with_template
from costmodel.trace.tensor_table import TensorTable, lies_on_meta
from costmodel.trace.traced_tensor import is_on_meta, tensors_on
from costmodel.trace.values import SMALL

_RANDOM = torch.Tag.nondeterministic_seeded
_DATA_DEPENDENT = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})


class MetaExecutor(Executor):
    """Outputs by the rules; by torch's own kernels for meta tensors where no rule says them."""

    fills_cache = True

    def __init__(self, table: TensorTable, model_device: str) -> None:
        super().__init__(table, model_device)
        self._on_meta: dict[int, torch.Tensor] = {}
        """Meta tensors in the place of real ones, by the ``id()`` of those."""
        self._constants = table.constants = Constants(table.specs, table.log.storage_specs)

    def answer(self, plan: Plan, how: How, call: Dispatch, bound: Arguments) -> CachedOutput | Direct:
        """The answer to a call."""
        match how:
            case How.RULE:
                if plan.rule is not None and plan.rule.indices is not None and plan.composite is None:
                    return self._indexed(plan, call, bound)
                return self._by_rule(plan, call, bound)
            case How.COPY:
                copy = self.on_model_device(call)
                return Identity(plan.op, plan.bind) if copy is None else self._by_rule(plan, copy, bound)
            case How.VIEW:
                return View(plan.op, plan.bind)
            case How.INPLACE:
                return self._write(plan, call, bound)
            case How.INPLACE_LISTS:
                return self._write_lists(plan, call, bound)
            case How.IDENTITY:
                return Identity(plan.op, plan.bind)
            case How.VALUE:
                return self._value(plan, call, bound)
            case How.KERNEL:
                return self._by_kernel(plan, call, bound)
            case How.RESIZE:
                raise NeedsValuesError(f"{plan.op} resizes a tensor")
            case _:
                raise AssertionError(how)

    def close(self) -> None:
        """Lets go of every tensor, and restores values that may be the user's."""
        self._on_meta.clear()
        self._constants.clear()
        super().close()

    def value_of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The values of a constant that is held as a meta tensor."""
        if tensor not in self._constants or self.table.spec(tensor).storage in self.table.stale:
            return None
        values: torch.Tensor = self._constants.computed(tensor)
        return values

    def _by_rule(self, plan: Plan, call: Dispatch, bound: Arguments) -> CachedOutput | Direct:
        assert plan.rule is not None
        outputs_of = plan.rule.outputs
        if outputs_of is Torch.META:
            return self._by_kernel(plan, call, bound)
        assert not isinstance(outputs_of, Torch)
        if self._is_constant(call, bound):
            return self._deferred(plan, call, bound) or self._by_kernel(plan, call, bound)
        try:
            outputs = outputs_of(bound)
        except ValueError as error:
            raise RuntimeError(str(error)) from error  # which is what torch raises, and a model may expect
        if plan.rule.observe is not None and plan.composite is None:
            self._observe_constants(plan, call, bound)
            return self._made(plan, bound, outputs)
        temporaries = self.temporaries(plan, bound)
        if isinstance(outputs, TensorSpec):
            return NewTensor(plan.op, plan.bind, temporaries, meta_with_template(outputs))
        if plan.composite is not None:
            first, *unused = [meta_with_template(spec) for spec in outputs if spec is not None]
            return NewTensor(plan.op, plan.bind, temporaries, first, tuple(unused), plan.allocates_unused)
        metas = tuple([None if spec is None else meta_with_template(spec) for spec in outputs])
        sig = plan.signature
        container: Callable[[list[torch.Tensor | None]], Any]
        container = _nothing if sig.returns_nothing else list if sig.returns_list else tuple
        return NewTensors(plan.op, plan.bind, temporaries, metas, container)

    def _indexed(self, plan: Plan, call: Dispatch, bound: Arguments) -> CachedOutput | Direct:
        """The same of an op that takes indices, which may have values."""
        from costmodel.trace.indices import Indexed, require_in_range

        assert plan.rule is not None
        assert plan.rule.indices is not None
        require_in_range(self.table, plan.rule.indices, plan.bind, call.invocation)
        answer = self._by_rule(plan, call, bound)
        if isinstance(answer, Direct):
            return answer
        return Indexed(plan.op, plan.bind, plan.rule.indices, answer)

    def _deferred(self, plan: Plan, call: Dispatch, bound: Arguments) -> Direct | None:
        """A constant that is computed later, where its rule says all that the trace needs of it."""
        rule = plan.rule
        assert rule is not None
        if rule.observe is not None or plan.composite is not None or "device" in call.kwargs or torch.is_grad_enabled():
            return None
        if not self.table.may_defer or not self._constants.may_wait(call.args, call.kwargs):
            return None
        try:
            made = rule.outputs(bound) if callable(rule.outputs) else None
        except (ValueError, NeedsValuesError):
            return None
        if not isinstance(made, TensorSpec):
            return None
        self.record_temporaries(plan, bound)
        tensor, spec = self.table.make(
            meta_with_template(TensorSpec(made.shape, made.dtype, made.strides, role="constant"))
        )
        self._constants.add(spec, call.func, call.args, call.kwargs)
        return Direct(tensor, (spec,))

    def _observe_constants(self, plan: Plan, call: Dispatch, bound: Arguments) -> None:
        """Adds to the arguments what the rule reads off those that have values, where that is enough."""
        assert plan.rule is not None
        assert plan.rule.observe is not None
        given = self._constants.computed(plan.signature.bind(list(call.args), call.kwargs))
        stale = {name for name, spec in bound.items() if any(t.storage in self.table.stale for t in tensors_in(spec))}
        known = {
            name: value
            for name, value in given.items()
            if name not in stale and not any(map(is_on_meta, leaves(value)))
        }
        with suppress(KeyError):  # of an argument without values
            found = plan.rule.observe(known)
            if found:
                bound["observed"] = found

    def _made(self, plan: Plan, bound: Arguments, outputs: TensorSpec | tuple[TensorSpec | None, ...]) -> Direct:
        """New tensors of an op whose cost depends on values, which no key of the cache has."""
        self.record_temporaries(plan, bound)
        specs = [outputs] if isinstance(outputs, TensorSpec) else outputs
        made = [self.table.make(meta_with_template(spec)) for spec in specs if spec is not None]
        tensors = tuple(tensor for tensor, _ in made)
        value = tensors[0] if isinstance(outputs, TensorSpec) else tensors
        return Direct(value, tuple(spec for _, spec in made))

    def _write(self, plan: Plan, call: Dispatch, bound: Arguments) -> CachedOutput | Direct:
        """Recorded, and carried out only on constants that the trace itself has made."""
        spec: TensorSpec = call.given[0]
        returns_nothing = plan.signature.returns_nothing
        if lies_on_meta(spec):
            return Written(plan.op, plan.bind, self.temporaries(plan, bound), returns_nothing)
        self._carry_out(call, bound, call.args[:1])
        self.record_temporaries(plan, bound)
        return Direct(None if returns_nothing else call.args[0], (spec,), inplace=True)

    def _write_lists(self, plan: Plan, call: Dispatch, bound: Arguments) -> CachedOutput | Direct:
        """Likewise."""
        specs = plan.written(bound)
        if all(map(lies_on_meta, specs)):
            return WrittenLists(plan.op, plan.bind, self.temporaries(plan, bound), plan.written)
        self._carry_out(call, bound, leaves(plan.signature.written(call.args, call.kwargs)))
        self.record_temporaries(plan, bound)
        return Direct(None, specs, inplace=True)

    def _carry_out(self, call: Dispatch, bound: Arguments, written: Iterable[torch.Tensor]) -> None:
        tensors = list(written)
        specs = list(map(self.table.spec, tensors))
        if all(map(self._is_own, specs)) and self._is_constant(call, bound):
            self.save(tensors)
            self._constants.compute_all()
            call.func(*self._constants.computed(call.args), **self._constants.computed(dict(call.kwargs)))
        else:
            self.table.stale.update(spec.storage for spec in specs)

    def _by_kernel(self, plan: Plan, call: Dispatch, bound: Arguments) -> Direct:
        func, args, kwargs = call.func, call.args, call.kwargs
        written = [self.table.spec(tensor) for tensor in leaves(plan.signature.written(args, kwargs))]
        if all(map(self._is_own, written)) and self._is_constant(call, bound):
            self.save(leaves(plan.signature.written(args, kwargs)))
            if written:
                self._constants.compute_all()
            args, kwargs = self._constants.computed(args), self._constants.computed(dict(kwargs))
            self.observe(plan, replace(call, args=args, kwargs=kwargs), bound)
            if self._is_placed_on_meta(call):  # by a model on meta: on another device, what it makes has values
                kwargs["device"] = CPU
            result = map_leaves(func(*args, **kwargs), lambda tensor: self._given(tensor, call))
        else:
            if not _DATA_DEPENDENT.isdisjoint(func.tags):
                raise NeedsValuesError(f"{plan.op} needs the values of its inputs")
            result = self._run_on_meta(plan, call)
            self.table.stale.update(spec.storage for spec in written)
        self.record_temporaries(plan, bound)
        return Direct(result, self.table.adopt(result))

    def _run_on_meta(self, plan: Plan, call: Dispatch) -> Any:
        try:
            with tensors_on(META):  # some of these kernels are in Python, and ask
                result = call.func(*self._args_on_meta(call), **self._kwargs_on_meta(call))
        except NotImplementedError as error:
            raise NeedsValuesError(f"{plan.op} cannot run without values: {error}") from error
        return map_leaves(result, lambda tensor: self._original(tensor, call))

    def _value(self, plan: Plan, call: Dispatch, bound: Arguments) -> Direct:
        if not self._is_constant(call, bound):
            raise NeedsValuesError(f"{plan.op} reads the value of a tensor that the trace does not compute")
        args, kwargs = self._constants.computed(call.args), self._constants.computed(dict(call.kwargs))
        return Direct(call.func(*args, **kwargs), ())

    def _given(self, computed: torch.Tensor, call: Dispatch) -> torch.Tensor:
        """What a kernel was given, where that returned an argument whose values stood in for it."""
        if self._constants:
            for tensor in leaves((call.args, call.kwargs)):
                if self._constants.computed(tensor) is computed:
                    return tensor
        return computed

    def _is_own(self, spec: TensorSpec) -> bool:
        """Whether the tensor is of this trace alone: an op has made it, torch has, or it copies what the user gave."""
        table, storage = self.table, spec.storage
        return table.log.allocated_at[storage] >= 0 or storage in table.lifted or storage in table.copied_inputs

    def _is_constant(self, call: Dispatch, bound: Arguments) -> bool:
        """Whether all inputs are real, small and up to date, so that the op may be computed."""
        if _RANDOM in call.func.tags:
            return False
        elements = _requested_size(bound)
        for spec in tensors_in(bound):
            if lies_on_meta(spec) or spec.storage in self.table.stale:
                return False
            elements += spec.size
        if self.model_device != "meta" and self._is_placed_on_meta(call):
            return False
        if elements > SMALL:
            return False
        return all(not is_on_meta(t) or t in self._constants for t in leaves((call.args, call.kwargs)))

    def _is_placed_on_meta(self, call: Dispatch) -> bool:
        device = call.kwargs.get("device")
        return device is not None and torch.device(device).type == "meta"

    # -- real tensors in a kernel for meta tensors --------------------------------------------------------------------

    def _args_on_meta(self, call: Dispatch) -> Any:
        return map_leaves(call.args, self._to_meta)

    def _kwargs_on_meta(self, call: Dispatch) -> Any:
        kwargs = map_leaves(dict(call.kwargs), self._to_meta)
        return kwargs | {"device": META} if "device" in kwargs else kwargs

    def _to_meta(self, tensor: torch.Tensor) -> torch.Tensor:
        if is_on_meta(tensor):
            return tensor
        on_meta = self._on_meta.get(id(tensor))
        if on_meta is None:
            on_meta = self._on_meta[id(tensor)] = empty_meta(self.table.spec(tensor))
        return on_meta

    def _original(self, tensor: torch.Tensor, call: Dispatch) -> torch.Tensor:
        """A kernel that returned what stands for its argument returned its argument."""
        for original in leaves((call.args, call.kwargs)):
            if self._on_meta.get(id(original)) is tensor:
                if original.shape != tensor.shape:
                    raise NeedsValuesError("an op resizes a tensor that it is given")
                return original
        return tensor


def _nothing(made: list[torch.Tensor | None]) -> None:
    """The container of the outputs of an op that has none."""


def _requested_size(bound: Arguments) -> int:
    """Elements that a factory op is to make, as far as its arguments say."""
    size = bound.get("size")
    if isinstance(size, (tuple, list)):
        elements = 1
        for n in size:
            elements *= n
        return elements
    start, end = bound.get("start") or 0, bound.get("end")
    if isinstance(start, (int, float)) and isinstance(end, (int, float)):
        return int(abs((end - start) / (bound.get("step") or 1)))
    return int(bound.get("n", 0) or 0) * int(bound.get("m", 1) or 1) if isinstance(bound.get("n"), int) else 0
