"""Calls of what ``costmodel.declared`` lists: answered by their rule on meta tensors, run unseen on real ones."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import wraps
from threading import get_ident
from types import TracebackType
from typing import Any

import torch
from torch import nn

from costmodel.declared import DECLARED, Declared
from costmodel.errors import InputError, NeedsValuesError
from costmodel.graph import Arguments, TensorSpec, tensors_in
from costmodel.ops import RULES, Torch
from costmodel.torch_private import without_modes
from costmodel.trace.calls import Calls
from costmodel.trace.executor import leaves
from costmodel.trace.specs import map_tensors
from costmodel.trace.tensor_meta import meta_with_template
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.traced_tensor import is_on_meta

_MISSING = object()


class UnseenCalls:
    """A context in which one op is recorded for each call, in this thread, of a declared function or layer."""

    def __init__(self, table: TensorTable, is_real: bool, modules: Iterable[nn.Module]) -> None:
        self._table, self._is_real, self._modules = table, is_real, modules
        self._thread = get_ident()
        self._is_inside = False
        self._replaced: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> UnseenCalls:
        for declared in DECLARED.values():
            found: Any = declared.found()
            is_class = inspect.isclass(found)
            if found is None:
                continue
            if declared.cost is not None:
                self._replace(found, "forward", self._layer(declared, found.forward))
            elif is_class:
                # Not ``apply``, which models keep under other names: ``swish = Swish.apply``.
                forward = self._function(declared, found.forward, _takes_context(found))
                self._replace(found, "forward", staticmethod(forward))
            else:
                function = self._function(declared, found)
                for holder, name in self._holders(declared, found):
                    self._replace(holder, name, function)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._replaced:
            holder, name, before = self._replaced.pop()
            if before is _MISSING:
                delattr(holder, name)
            else:
                setattr(holder, name, before)

    def _replace(self, holder: Any, name: str, value: Any) -> None:
        self._replaced.append((holder, name, vars(holder).get(name, _MISSING)))
        setattr(holder, name, value)

    def _holders(self, declared: Declared, function: Any) -> list[tuple[Any, str]]:
        """The modules that have a function, under each of its names: its own, and those of the model's classes."""
        if isinstance(declared.target, str):
            own = declared.target.partition(":")[0]
        else:
            own = function.__module__
        names = {own, *(type(module).__module__ for module in self._modules)}
        holders = [sys.modules[name] for name in names if name in sys.modules]
        return [(holder, name) for holder in holders for name, value in list(vars(holder).items()) if value is function]

    def _is_seen(self) -> bool:
        return self._is_inside or get_ident() != self._thread

    def _unseen(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._is_inside = True
        try:
            with without_modes(), Calls.paused():
                return function(*args, **kwargs)
        finally:
            self._is_inside = False

    def _function(
        self, declared: Declared, function: Callable[..., Any], takes_context: bool = False
    ) -> Callable[..., Any]:
        signature = None if declared.arguments else inspect.signature(function)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._is_seen():
                return function(*args, **kwargs)
            if signature is None:
                given = dict(zip(declared.arguments, args, strict=False)) | kwargs
            else:
                found = signature.bind_partial(*args, **kwargs)
                found.apply_defaults()
                given = dict(list(found.arguments.items())[takes_context:])
            rule = RULES[declared.op]
            bound = {name: _listed(map_tensors(value, self._table.spec)) for name, value in given.items()}
            if self._is_real:
                if rule.observe is not None:
                    with without_modes():
                        _keep(bound, rule.observe(given))
                self._record_temporaries(rule.temporaries(bound))
                return self._adopted(declared.op, bound, self._unseen(function, args, kwargs))
            if isinstance(rule.outputs, Torch):
                raise NeedsValuesError(f"{declared.op} is registered without outputs, so it is run")
            if rule.observe is not None:
                readable = {name: value for name, value in given.items() if not any(map(is_on_meta, leaves(value)))}
                with without_modes(), suppress(KeyError):  # of an argument without values
                    _keep(bound, rule.observe(readable))
            self._record_temporaries(rule.temporaries(bound))
            return self._made(declared.op, bound, rule.outputs(bound))

        return call

    def _layer(self, declared: Declared, forward: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(forward)
        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if self._is_seen():
                return forward(module, *args, **kwargs)
            given = [map_tensors(args, self._table.spec), map_tensors(kwargs, self._table.spec)]
            inputs = list(tensors_in(given))
            assert declared.cost is not None
            cost = _cost(declared.cost, module, inputs)
            bound = {
                "inputs": inputs, "parameters": [self._table.spec(p) for p in module.parameters()],
                "kind": cost.kind, "work": asdict(cost.work), "read": cost.read, "written": cost.written,
                "shape": tuple(cost.output_shape), "dtype": inputs[0].dtype,
            }  # fmt: skip
            if self._is_real:
                return self._adopted(declared.op, bound, self._unseen(forward, (module, *args), kwargs))
            return self._made(declared.op, bound, TensorSpec(bound["shape"], bound["dtype"]))

        return call

    def _record_temporaries(self, specs: Iterable[TensorSpec]) -> None:
        with without_modes():
            for spec in specs:
                self._table.record_temporary(meta_with_template(spec))

    def _adopted(self, op: str, bound: Arguments, result: Any) -> Any:
        self._table.log.add_op(op, bound, self._table.adopt(result))
        return result

    def _made(self, op: str, bound: Arguments, outputs: Any) -> Any:
        single = isinstance(outputs, TensorSpec)
        specs = [outputs] if single else outputs
        with without_modes():
            metas = [meta_with_template(TensorSpec(s.shape, s.dtype, s.strides, sparse=s.sparse)) for s in specs]
            made = [self._table.make(meta) for meta in metas]
        self._table.log.add_op(op, bound, tuple(spec for _, spec in made))
        tensors = tuple(tensor for tensor, _ in made)
        return tensors[0] if single else tensors


def _cost(function: Callable[[Any, tuple[int, ...]], Any], module: nn.Module, inputs: list[TensorSpec]) -> Any:
    if not inputs:
        raise InputError(
            f"the opaque layer {type(module).__name__} was given no tensor, whose shape its cost depends on"
        )
    try:
        return function(module, inputs[0].shape)
    except Exception as error:
        raise InputError(
            f"the cost registered for {type(module).__name__} failed on a layer that was given {inputs[0]}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _keep(bound: Arguments, observed: dict[str, int]) -> None:
    if observed:
        bound["observed"] = observed


def _listed(value: Any) -> Any:
    """A tuple as a list, in which an op's tensors are looked for."""
    return list(value) if isinstance(value, tuple) else value


def _takes_context(function: Any) -> bool:
    """Whether the forward of an autograd function has ``ctx`` as its first argument."""
    return bool(getattr(function, "setup_context", None) is torch.autograd.Function.setup_context)
