"""Records module calls: what each is given and returns, which encloses which, what the closed forms may know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any, TypeAlias

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from costmodel.graph import CapturedLayer, ModuleCall, ModuleInfo
from costmodel.torch_private import (
    BACKWARD_HOOKS,
    BACKWARD_PRE_HOOKS,
    CALL_SLOT,
    FORWARD_HOOKS,
    FORWARD_PRE_HOOKS,
    GLOBAL_HOOKS,
    OWN_CALL,
    call_with_hooks,
    is_called_plainly,
    is_transformed,
    remove_global_hook,
)
from costmodel.trace.layer_cache import LayerCache
from costmodel.trace.specs import map_tensors
from costmodel.trace.tensor_table import TensorTable

Capture: TypeAlias = Callable[[nn.Module, Any, Any, Any], CapturedLayer | None]
"""Reads off a module what the closed forms may know of it, when it has just run on the given records of tensors, and
nothing that keeps the module alive. Its third and fourth argument are the call's arguments and what it returned, which
in a real run have values. Given by the caller, so that the trace knows no formulas."""


class Calls:
    """A context in which every module call of this thread is recorded.

    Modules of the tree are called by way of a function in their ``CALL_SLOT``, for that is quick. All others, which the
    model hides, and those that have hooks, are recorded by two global hooks, with which torch's own calls are slow.
    """

    _innermost: Calls | None = None
    """A forward that is being traced may itself trace, and the outer trace must not take that for its own."""

    def __init__(
        self,
        table: TensorTable,
        capture: Capture,
        tree: Iterable[nn.Module],
        *,
        real: bool,
        layers: LayerCache | None = None,
    ) -> None:
        self._table, self._log, self._capture, self._tree, self._real = table, table.log, capture, tree, real
        self._layers = layers
        self._raised: list[tuple[int, int]] = []
        """Calls that an exception has left, innermost first, and how far the trace was."""
        self._installed_in: list[dict[str, Any]] = []
        self._forward_starts: dict[int, int] = {}
        """How far the trace was when the forward began, of calls of modules with hooks that run before it."""

    def __enter__(self) -> Calls:
        self._outer, Calls._innermost = Calls._innermost, self
        enter, leave = self._hooks()
        if not self._real:
            self._install(self._call())
        self._handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, with_kwargs=True)
        self._last_hooks = self._note_forward_starts()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for handle in self._last_hooks:
            handle.remove()
        for handle in self._handles:
            remove_global_hook(handle)
        for own in self._installed_in:
            own.pop(CALL_SLOT, None)
        Calls._innermost = self._outer

    def enclose(self, model: nn.Module, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Calls a function, recorded as the call of ``model`` that all else is inside of."""
        log, spec = self._log, self._table.spec
        log.call_starts.append((log.modules_by_id[id(model)], -1, 0, map_tensors(args, spec), model.training))
        log.module = 0
        try:
            output = function(*args, **kwargs)
        except BaseException:
            self._raised.append((log.module, self._progress()))
            raise
        finally:
            log.module = -1
        log.call_ends[0] = len(log.events), map_tensors(kwargs, spec), map_tensors(output, spec), None
        return output

    @classmethod
    @contextmanager
    def paused(cls) -> Iterator[None]:
        """A context in which no module call is recorded."""
        outer, cls._innermost = cls._innermost, None
        try:
            yield
        finally:
            cls._innermost = outer

    def broken(self) -> list[ModuleCall]:
        """The calls that an exception has just left, outermost first: where it came from."""
        now = self._progress()
        index = next((index for index, then in self._raised if then == now), self._log.module)
        records, calls = self._log.calls(), []
        while index >= 0:
            calls.append(records[index])
            index = records[index].parent
        return calls[::-1]

    def _progress(self) -> int:
        return len(self._log.events) + len(self._log.call_starts)

    def _install(self, call: Callable[..., Any]) -> None:
        kinds: set[type[nn.Module]] = set(map(type, self._tree))
        plain = {kind for kind in kinds if is_called_plainly(kind)}
        infos = self._log.modules_by_id
        for module in self._tree:
            own = module.__dict__
            if type(module) in plain and OWN_CALL not in own and own.get(CALL_SLOT) is None:
                self._installed_in.append(own)
                own[CALL_SLOT] = partial(call, module, infos[id(module)])

    def _note_forward_starts(self) -> list[RemovableHandle]:
        """Adds a last hook to the modules of the tree that have hooks which run before their forward."""
        thread, log = get_ident(), self._log

        def note(*_: Any) -> None:
            if self._is_ours(thread):
                self._forward_starts[log.module] = len(log.events)

        hooked = (module for module in self._tree if getattr(module, FORWARD_PRE_HOOKS))
        return [module.register_forward_pre_hook(note) for module in hooked]

    def _call(self) -> Callable[..., Any]:
        """What is called in the place of a module's forward and hooks.

        It does as little as it can, for between two ops all is slow.
        """
        thread, table, capture, raised = get_ident(), self._table, self._capture, self._raised
        run = None if self._layers is None else self._layers.run
        log, collected, spec_of = table.log, table.collected, table.specs.get
        call_starts, call_ends, events = log.call_starts, log.call_ends, log.events
        before, after = GLOBAL_HOOKS
        transforms: list[bool] = []
        """Not empty once a transform of torch.func has run: a tensor in it is new to the trace when it first comes."""

        def call(module: nn.Module, info: ModuleInfo, /, *args: Any, **kwargs: Any) -> Any:
            own = module.__dict__
            if (
                own[FORWARD_PRE_HOOKS] or own[FORWARD_HOOKS] or own[BACKWARD_PRE_HOOKS] or own[BACKWARD_HOOKS]
                or len(before) + len(after) > 2  # somebody else's too
                or get_ident() != thread
            ):  # fmt: skip
                return call_with_hooks(module, args, kwargs)
            if collected:
                table.drop_collected()
            spec = spec_of(id(args[0])) if len(args) == 1 else None  # nearly always one tensor that is known
            if spec is not None:
                given = (spec,)
            else:
                given = map_tensors(args, table.spec)
                if not transforms and is_transformed():
                    transforms.append(True)
            within = log.module
            index = log.module = len(call_starts)
            call_starts.append(
                (info, within, len(events), given, getattr(module, "training", False))
            )  # torch.jit.freeze
            try:
                if spec is None or run is None or kwargs:
                    output = module.forward(*args, **kwargs)
                else:
                    output = run(module, args[0], spec)
            except BaseException:
                raised.append((log.module, self._progress()))
                log.module = within
                raise
            log.module = within
            if collected:
                table.drop_collected()
            spec = spec_of(id(output))
            named = map_tensors(kwargs, table.spec) if kwargs else None
            hidden = transforms and is_transformed()
            captured = None if hidden else capture(module, (given, named), (args, kwargs), output)
            outputs = spec if spec is not None else map_tensors(output, table.spec)
            call_ends[index] = len(events), named, outputs, captured
            return output

        return call

    def _hooks(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """What torch calls before and after the forward of a module in whose slot nothing is installed."""
        thread, table, capture = get_ident(), self._table, self._capture
        log = table.log
        call_starts, call_ends, events, info_of = log.call_starts, log.call_ends, log.events, log.modules_by_id.get

        def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
            if self._is_ours(thread):
                given = map_tensors(args, table.spec)
                within, log.module = log.module, len(call_starts)
                info, training = info_of(id(module)) or type(module).__name__, getattr(module, "training", False)
                call_starts.append((info, within, len(events), given, training))

        def leave(module: nn.Module, args: tuple[Any, ...], *kwargs_and_output: Any) -> None:
            # Without kwargs where another thread calls a module while torch adds or removes the hook, in two steps.
            if self._is_ours(thread):
                kwargs, output = kwargs_and_output
                index = log.module
                if call_starts[index][0] is not info_of(id(module)):
                    index = self._enclosing_call_of(module)
                _, log.module, start, given, _ = call_starts[index]
                named = map_tensors(kwargs, table.spec) if kwargs else None
                # One of the module's own has changed the arguments, or run operations, which count as the module's.
                is_hooks_work = given != map_tensors(args, table.spec) or (
                    getattr(module, FORWARD_PRE_HOOKS) and self._forward_starts.get(index) != start
                )
                hidden = is_hooks_work or is_transformed()
                captured = None if hidden else capture(module, (given, named), (args, kwargs), output)
                call_ends[index] = len(events), named, map_tensors(output, table.spec), captured

        return enter, leave

    def _is_ours(self, thread: int) -> bool:
        return get_ident() == thread and Calls._innermost is self

    def _enclosing_call_of(self, module: nn.Module) -> int:
        """The call of a module that ends now: not the innermost, if the model caught an exception of one inside."""
        log = self._log
        index, known = log.module, log.modules_by_id.get(id(module)) or type(module).__name__
        while log.call_starts[index][0] != known and log.call_starts[index][1] >= 0:
            index = log.call_starts[index][1]
        return index
