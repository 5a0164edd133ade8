"""Which module is running: nested calls, what they are given and return, their hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any, TypeAlias

from torch import nn
from torch.nn.modules.module import (
    _global_forward_hooks,
    _global_forward_hooks_with_kwargs,
    _global_forward_pre_hooks,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from costmodel.graph import ModuleCall, ModuleInfo, Told
from costmodel.trace.recorder import Recorder
from costmodel.trace.specs import map_tensors

Capture: TypeAlias = Callable[[nn.Module, Any], Told | None]
"""Takes what the closed forms may know of a module that has just run on the given records of tensors, and nothing that
keeps the module alive. Given by the caller, so that the trace knows no formulas."""

_SLOT = "_compiled_call_impl"
"""What a module has here is called in the place of its forward and hooks: ``torch.compile`` made it so."""


class Calls:
    """A context in which every module call of this thread is noted.

    Modules of the tree are called by way of a function in their ``_SLOT``, for that is quick. All others, which the
    model hides, and those that have hooks, are noted by two global hooks: with those, torch takes a long way itself.
    """

    _innermost: Calls | None = None
    """A forward that is being traced may itself trace, and the outer trace must not take that for its own."""

    def __init__(self, recorder: Recorder, capture: Capture, tree: Iterable[nn.Module]) -> None:
        self._recorder, self._capture, self._tree = recorder, capture, tree
        self._raised: list[tuple[int, int]] = []
        """Calls that an exception has left, innermost first, and how far the trace was."""
        self._taken: list[dict[str, Any]] = []

    def __enter__(self) -> Calls:
        self._outer, Calls._innermost = Calls._innermost, self
        enter, leave = self._hooks()
        self._take_slots(self._call())
        self._handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, with_kwargs=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
            _global_forward_hooks_with_kwargs.pop(handle.id, None)  # torch forgets to, and takes it for a hook
        for own in self._taken:
            own.pop(_SLOT, None)
        Calls._innermost = self._outer

    def broken(self) -> list[ModuleCall]:
        """The calls that an exception has just left, outermost first: where it came from."""
        now = self._progress()
        index = next((index for index, then in self._raised if then == now), self._recorder.module)
        records, calls = self._recorder.tape.calls(), []
        while index >= 0:
            calls.append(records[index])
            index = records[index].parent
        return calls[::-1]

    def _progress(self) -> int:
        return len(self._recorder.tape.noted) + len(self._recorder.tape.begun)

    def _take_slots(self, call: Callable[..., Any]) -> None:
        kinds: set[type[nn.Module]] = set(map(type, self._tree))
        plain = {kind for kind in kinds if kind._call_impl is nn.Module._call_impl}
        infos = self._recorder.tape.infos
        for module in self._tree:
            own = module.__dict__
            if type(module) in plain and "_call_impl" not in own and own.get(_SLOT) is None:
                self._taken.append(own)
                own[_SLOT] = partial(call, module, infos[id(module)])

    def _call(self) -> Callable[..., Any]:
        """What is called in the place of a module's forward and hooks.

        It does as little as it can, for between two ops all is slow.
        """
        thread, recorder, capture, raised = get_ident(), self._recorder, self._capture, self._raised
        tape, dead, spec_of = recorder.tape, recorder.dead, recorder.specs.get
        begun, ended, noted = tape.begun, tape.ended, tape.noted

        def call(module: nn.Module, info: ModuleInfo, /, *args: Any, **kwargs: Any) -> Any:
            if (
                module._forward_pre_hooks or module._forward_hooks
                or module._backward_pre_hooks or module._backward_hooks
                or len(_global_forward_pre_hooks) + len(_global_forward_hooks) > 2  # somebody else's too
                or get_ident() != thread
            ):  # fmt: skip
                return module._call_impl(*args, **kwargs)
            if dead:
                recorder.bury()
            spec = spec_of(id(args[0])) if len(args) == 1 else None  # nearly always one tensor that is known
            given = (spec,) if spec is not None else map_tensors(args, recorder.spec)
            within = recorder.module
            index = recorder.module = len(begun)
            begun.append((info, within, len(noted), given, getattr(module, "training", False)))  # torch.jit.freeze
            try:
                output = module.forward(*args, **kwargs)
            except BaseException:
                raised.append((recorder.module, self._progress()))
                recorder.module = within
                raise
            recorder.module = within
            if dead:
                recorder.bury()
            spec = spec_of(id(output))
            named = map_tensors(kwargs, recorder.spec) if kwargs else None
            told = capture(module, (given, named))
            ended[index] = len(noted), named, spec if spec is not None else map_tensors(output, recorder.spec), told
            return output

        return call

    def _hooks(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """What torch calls before and after the forward of a module whose slot is not taken."""
        thread, recorder, capture = get_ident(), self._recorder, self._capture
        tape = recorder.tape
        begun, ended, noted, info_of = tape.begun, tape.ended, tape.noted, tape.infos.get

        def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
            if self._hears(thread):
                given = map_tensors(args, recorder.spec)
                within, recorder.module = recorder.module, len(begun)
                info, training = info_of(id(module)) or type(module).__name__, getattr(module, "training", False)
                begun.append((info, within, len(noted), given, training))

        def leave(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            if self._hears(thread):
                index = recorder.module
                if begun[index][0] is not info_of(id(module)):
                    index = self._left(module)
                _, recorder.module, _, given, _ = begun[index]
                named = map_tensors(kwargs, recorder.spec) if kwargs else None
                told = capture(module, (given, named))
                ended[index] = len(noted), named, map_tensors(output, recorder.spec), told

        return enter, leave

    def _hears(self, thread: int) -> bool:
        return get_ident() == thread and Calls._innermost is self

    def _left(self, module: nn.Module) -> int:
        """The call of a module that ends now: not the innermost, if the model went on after one inside had raised."""
        tape, index = self._recorder.tape, self._recorder.module
        known = tape.infos.get(id(module)) or type(module).__name__
        while tape.begun[index][0] != known and tape.begun[index][1] >= 0:
            index = tape.begun[index][1]
        return index
