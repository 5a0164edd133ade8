"""The dispatch mode that sees every aten op, has it answered without computing, and records it.

It works below autograd: composite ops arrive whole, so a linear layer, an attention or an LSTM is one op, whatever
kernels a device would split it into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from costmodel.errors import NeedsValuesError
from costmodel.torch_private import (
    DispatchMode,
    HigherOrderOperator,
    OpOverload,
    autocast_nesting,
    enter_autocast,
    is_composite,
    is_nested_class,
    leave_autocast,
    run_higher_order,
)
from costmodel.trace.autocast import Autocast, policies
from costmodel.trace.decomposition import decompose
from costmodel.trace.dispatch_cache import CachedOutput, Dispatch, DispatchCache, dispatch_cache
from costmodel.trace.executor import NUMBER, Executor, leaves, number_on_cpu
from costmodel.trace.packed import is_packed
from costmodel.trace.plan import How, Plan, plan_for_sparse, plans
from costmodel.trace.signature import SIGNATURES, signature
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.wrapped import runs_ops_itself

_NO_KEYWORDS: Mapping[str, Any] = {}


class Recorder(DispatchMode):
    """Each op goes one way: its key, then the cached answer or else the op's plan and the executor, then the record."""

    def __init__(self, table: TensorTable, executor: Executor, *, applies_autocast: bool = True) -> None:
        """``applies_autocast`` is false where ``above_autograd`` has cast the arguments already."""
        super().__init__()
        self._table, self._log, self._executor = table, table.log, executor
        self._collected, self._find = table.collected, table.specs.get
        self.cache = dispatch_cache(executor.model_device) if executor.fills_cache else DispatchCache()
        self._plan_of = plans().of
        self._autocast, self._applies_autocast = Autocast(executor.model_device), applies_autocast
        self._decomposing = False
        self.needs_values: NeedsValuesError | None = None
        """Why this trace cannot say what the model runs, also where the model caught the error."""

    def note_need(self, error: NeedsValuesError) -> None:
        """Notes that the forward asks for values without an op."""
        self.needs_values = error

    def given(self, inputs: Any) -> None:
        """Is called with what the forward is given, before it begins."""

    def returned(self, output: Any) -> None:
        """Is called with what the forward returns."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] = _NO_KEYWORDS
    ) -> Any:
        if types:  # of classes that run the op on the tensors inside, and come here again
            if any(map(is_nested_class, types)):
                return NotImplemented
            if any(map(runs_ops_itself, types)):  # which torch gives the parts of composite ops
                return self._decompose(func, args, kwargs) if is_composite(func) else NotImplemented
        if self._collected:
            self._table.drop_collected()
        sig = SIGNATURES.get(id(func))
        if sig is None:
            if isinstance(func, HigherOrderOperator):
                with self:
                    return run_higher_order(func, args, kwargs)
            sig = signature(func)
        given, named, key = sig.read(args, kwargs, self._find)
        try:
            cached = self.cache.get(key)
        except TypeError:  # an argument that cannot be hashed
            cached = None
        if cached is not None:
            enter_autocast()
            if not leave_autocast() or not self._applies_autocast:  # outside of every block
                return cached.answer(self._table, (func, args, kwargs, given, named))
        plan = self._plan_of(func)
        if self._applies_autocast and autocast_nesting():
            return self._answer_in_autocast(plan, func, args, kwargs)
        return self._answer(plan, func, args, kwargs)

    def _answer(self, plan: Plan, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if plan.how is How.UNTRACED:
            return func(*args, **kwargs)
        is_lifted = plan.op == "aten.lift_fresh.default"
        specs = [self._table.spec(tensor, is_lifted) for tensor in leaves((args, kwargs))]
        if plan.signature.packed:
            self._add_packed(plan.signature.packed, plan.signature.names, args, kwargs)
        if any(spec.sparse is not None for spec in specs):
            plan = plan_for_sparse(func, specs)
        call = Dispatch(func, args, kwargs, *plan.signature.read(args, kwargs, self._find))
        how, bound = plan.of(call.given, call.named)
        if how is How.DECOMPOSE:
            return self._decompose(func, args, kwargs)
        if plan.op == NUMBER and not self._decomposing and self._executor.is_assigned_number(call):
            with self:
                return torch.ops.aten.lift_fresh.default(number_on_cpu(call))
        try:
            answer = self._executor.answer(plan, how, call, bound)
        except NeedsValuesError as error:
            self.needs_values = error
            raise
        if isinstance(answer, CachedOutput):
            if self._executor.fills_cache:
                self.cache.add(call, answer)
            return answer.answer(self._table, call.invocation)
        self._log.add_op(plan.op, bound, answer.outputs, answer.inplace)
        return answer.value

    def _add_packed(
        self, packed: Sequence[str], names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Adds packed weights that no module holds: the forward has made them."""
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        for name in packed:
            value = given.get(name)
            for each in value if isinstance(value, (list, tuple)) else [value]:
                if is_packed(each):
                    self._table.add_packed(each, "constant")

    def _decompose(self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        outer, self._decomposing = self._decomposing, True
        try:
            with self:
                return decompose(func, args, kwargs)
        finally:
            self._decomposing = outer

    def _answer_in_autocast(self, plan: Plan, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        autocast = self._autocast
        policy = policies(autocast.device).get(str(func))
        autocast.enter(len(self._log.events))
        try:
            if policy is None or not autocast.is_on():
                return self._answer(plan, func, args, kwargs)
            args, kwargs = autocast.cast_arguments(policy, func, args, kwargs, self._cast)
            with autocast.suspended():
                return self._answer(plan, func, args, kwargs)
        finally:
            autocast.leave(len(self._log.events))

    def _cast(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        with self:
            cast: torch.Tensor = torch.ops.aten._to_copy.default(tensor, dtype=dtype)
        return cast
