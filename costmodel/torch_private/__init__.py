"""Every private name of torch that the library uses, wrapped; no other package uses one. Here: what a forward takes.

After each name: the releases of torch that it was seen in. Public names that torch does not document are here too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any

import torch
from torch import nn
from torch._ops import (  # 2.6, 2.13, 2.15
    HigherOrderOperator,  # 2.6, 2.13, 2.15
    OpOverload,  # 2.6, 2.13, 2.15
    _len_torch_dispatch_stack_pre_dispatch,  # 2.6, 2.13, 2.15
)
from torch.nn.modules.module import (
    _global_forward_hooks,  # 2.6, 2.13, 2.15
    _global_forward_hooks_with_kwargs,  # 2.6, 2.13, 2.15
    _global_forward_pre_hooks,  # 2.6, 2.13, 2.15
)
from torch.utils._python_dispatch import (  # 2.6, 2.13, 2.15
    TorchDispatchMode,  # 2.6, 2.13, 2.15
    _disable_current_modes,  # 2.6, 2.13, 2.15
)
from torch.utils.hooks import RemovableHandle

__all__ = ["HigherOrderOperator", "OpOverload"]

no_torch_function = torch._C._disabled_torch_function_impl  # 2.6, 2.13, 2.15
"""As ``__torch_function__`` of a class of tensors: torch's functions take them as they take plain ones."""


def refuse_data_pointers(tensor: torch.Tensor) -> None:
    """Lets torch raise ``RuntimeError`` where a pointer to the tensor's memory is asked for, which is null on meta."""
    if tensor.layout is torch.strided:  # others have no storage of their own
        torch._C._set_throw_on_mutable_data_ptr(tensor)  # 2.6, 2.13, 2.15


# -- dispatch ----------------------------------------------------------------------------------------------------


@contextmanager
def without_modes() -> Iterator[None]:
    """A context without the caller's dispatch modes, which would see other ops or make tensors of another kind.

    Mostly there is none, and torch's own context, which imports a file and takes 10 µs, is not entered.
    """
    if torch._C._len_torch_dispatch_stack() or _len_torch_dispatch_stack_pre_dispatch():  # 2.6, 2.13, 2.15
        with _disable_current_modes():
            yield
    else:
        yield


at_dispatch_entry = getattr(torch._C, "_RestorePythonTLSSnapshot")  # noqa: B009  # no stub has it; 2.6, 2.13, 2.15
"""Inside a dispatch mode: a context with the thread's dispatcher state as it was when the op was called."""


_VERSION_COUNTERS = torch._C.DispatchKey.ADInplaceOrView  # 2.6, 2.13, 2.15
_ABOVE = getattr(torch._C.DispatchKey, "AutocastIPU")  # noqa: B009  # no stub has it; 2.6, 2.13, 2.15
"""A key above autograd: autocast's for a device that torch no longer supports, so that no kernel has it."""
_AFTER_ABOVE = torch._C._dispatch_keyset_full_after(_ABOVE)  # 2.6, 2.13, 2.15
_NEITHER = torch._C.DispatchKeySet(_VERSION_COUNTERS) | torch._C.DispatchKeySet(_ABOVE)  # 2.6, 2.13, 2.15


@contextmanager
def below_autograd() -> Iterator[None]:
    """Ops skip autograd, so composite ones reach a mode whole; and no tensor's version counter changes."""
    with (
        torch._C._ExcludeDispatchKeyGuard(_NEITHER),  # 2.6, 2.13, 2.15
        torch._C._AutoDispatchBelowAutograd(),  # 2.6, 2.13, 2.15
    ):
        yield


@contextmanager
def kernels_above_autograd() -> Iterator[None]:
    """In this thread, ops meet the kernels of ``register_above_autograd`` before autograd's."""
    was_excluded = torch._C._dispatch_tls_is_dispatch_key_excluded(_ABOVE)  # 2.6, 2.13, 2.15
    torch._C._dispatch_tls_set_dispatch_key_excluded(_ABOVE, False)  # 2.6, 2.13, 2.15
    try:
        with torch._C._IncludeDispatchKeyGuard(_ABOVE):  # 2.6, 2.13, 2.15
            yield
    finally:
        torch._C._dispatch_tls_set_dispatch_key_excluded(_ABOVE, was_excluded)


def without_kernels_above_autograd() -> Any:
    """A context in which ops go to autograd at once."""
    return torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(_ABOVE))  # 2.6, 2.13, 2.15


def register_above_autograd(kernels: Mapping[OpOverload, Callable[..., Any]]) -> list[Any]:
    """Registers kernels, which run within ``kernels_above_autograd`` alone; as long as what is returned lives.

    A kernel is given the call's dispatch keys first, for ``run_below``.
    """
    fallback, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    fallback.fallback(torch.library.fallthrough_kernel, _ABOVE.name)
    for op, kernel in kernels.items():
        aten.impl(op, kernel, _ABOVE.name, with_keyset=True)
    return [fallback, aten]


def run_below(op: OpOverload, keys: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the op does where no kernel above autograd is in its way; ops that it is made of still meet theirs."""
    return op.redispatch(keys & _AFTER_ABOVE, *args, **kwargs)  # 2.6, 2.13, 2.15


def run_for_cpu(op: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Runs the kernel for the CPU, whatever the arguments' device: it must not read their values."""
    return op._op_dk(torch._C.DispatchKey.CPU, *args, **kwargs)  # 2.6, 2.13, 2.15


class DispatchMode(TorchDispatchMode):
    """A dispatch mode that is given every op, those that take functions included."""

    supports_higher_order_operators = True  # 2.13, 2.15

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        if not hasattr(TorchDispatchMode, "supports_higher_order_operators"):
            _register_for_higher_order_ops(type(self))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # 2.13, 2.15
        """Without this, torch wraps the dispatch in a switch for its compiler, which takes time for each op."""
        return False


def _register_for_higher_order_ops(kind: type[DispatchMode]) -> None:
    """torch 2.6 asks each such op for a kernel registered for the mode's class."""

    def register(op: HigherOrderOperator) -> None:
        op.py_impl(kind)(lambda mode, *args, **kwargs: mode.__torch_dispatch__(op, (), args, kwargs))  # 2.6

    for op in torch._ops._higher_order_ops.values():  # 2.6
        if kind not in op.python_key_table:  # 2.6
            register(op)


def onednn_computes(dtype: torch.dtype) -> bool:
    """Whether oneDNN has recurrent layers in this dtype on this processor, and is not switched off."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    if dtype is torch.float16 and torch.is_grad_enabled():
        return False
    return _processor_computes(dtype)


@cache
def _processor_computes(dtype: torch.dtype) -> bool:
    with without_modes():
        if dtype is torch.bfloat16:
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # 2.6, 2.13, 2.15
        if dtype is torch.float16:
            return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())  # 2.6, 2.13, 2.15
        return dtype is torch.float32


# -- ops ---------------------------------------------------------------------------------------------------------


def schema_of(op: OpOverload) -> torch._C.FunctionSchema:
    """An op's schema."""
    return op._schema  # 2.6, 2.13, 2.15


def is_composite(op: OpOverload) -> bool:
    """Whether the op is implemented by other ops on every device."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key  # 2.6, 2.13, 2.15
    return bool(has_kernel(op.name(), "CompositeImplicitAutograd"))


def run_composite(op: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Runs a composite op's C++ kernel, as eager torch does; ``op.decompose`` prefers decompositions in Python."""
    return op._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)  # 2.6, 2.13, 2.15


def run_higher_order(op: HigherOrderOperator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Runs an op that takes functions: torch's own kernel calls them."""
    kernel = op.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)  # 2.6, 2.13, 2.15
    if kernel is None:
        raise RuntimeError(f"HigherOrderOperator {op.name()} has no kernel that calls its functions")
    if op.name() != "cond":
        return kernel(*args, **kwargs)
    condition, then, otherwise, operands = args  # its kernel refuses to run under a mode
    return (then if condition else otherwise)(*operands)


# -- autocast ----------------------------------------------------------------------------------------------------


def ops_with_autocast_kernel(device: str) -> list[str]:
    """The ops that autocast on a type of device has a kernel for, as ``namespace::name`` or with an overload."""
    key = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}[device]
    return torch._C._dispatch_get_registrations_for_dispatch_key(key)  # 2.6, 2.13, 2.15


enter_autocast = torch.autocast_increment_nesting  # 2.6, 2.13, 2.15
leave_autocast = torch.autocast_decrement_nesting  # 2.6, 2.13, 2.15


def autocast_nesting() -> int:
    """In how many ``with torch.autocast(...)`` blocks this is, whether they turn it on or off."""
    enter_autocast()
    return leave_autocast()


def autocast_off(device: str) -> Any:
    """A context in which autocast on a type of device is off, for what an op with an autocast kernel is made of."""
    key = {"cpu": torch._C.DispatchKey.AutocastCPU, "cuda": torch._C.DispatchKey.AutocastCUDA}[device]
    return torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key))  # 2.6, 2.13, 2.15


def is_plain_eager() -> bool:
    """Whether one dispatch mode alone sees the ops of this thread: no other mode, autocast, transform or tracer does.

    And whether cuDNN is on, which norms hand on as an argument.
    """
    enter_autocast()
    return (
        not leave_autocast()
        and torch._C._len_torch_dispatch_stack() == 1  # 2.6, 2.13, 2.15
        and not torch._C._len_torch_function_stack()  # 2.6, 2.13, 2.15
        and torch._C._functorch.peek_interpreter_stack() is None  # 2.6, 2.13, 2.15
        and torch._C._get_tracing_state() is None  # 2.6, 2.13, 2.15
        and torch._C._get_cudnn_enabled()  # 2.6, 2.13, 2.15
    )


_pop, _push = torch._C._pop_torch_dispatch_stack, torch._C._push_on_torch_dispatch_stack  # 2.6, 2.13, 2.15


def without_innermost_mode(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function without the innermost dispatch mode, as torch calls the mode itself.

    It takes a thirtieth of the time of ``without_modes``, for nearly every layer.
    """
    mode = _pop(None)
    try:
        return function(*args)
    finally:
        _push(mode)


def is_nested_class(kind: type) -> bool:
    """Whether a class of tensors is that of jagged ones, which are imported with the first."""
    return kind.__module__ == "torch.nested._internal.nested_tensor"  # 2.6, 2.13, 2.15


unoptimised = getattr(torch.jit, "optimized_execution")  # noqa: B009  # not exported by its stub; 2.6, 2.13, 2.15
"""A context that takes ``False``, in which torch.jit's modules run as they are written."""


def is_transformed() -> bool:
    """Whether a transform of torch.func (``vmap``, ``grad``) runs, in which tensors have other shapes than ops see."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # 2.6, 2.13, 2.15


def is_view(tensor: torch.Tensor) -> bool:
    """Whether autograd knows the tensor as a view of another."""
    return tensor._is_view()  # 2.6, 2.13, 2.15


# -- modules -----------------------------------------------------------------------------------------------------

PARAMETERS, BUFFERS, MODULES = "_parameters", "_buffers", "_modules"  # 2.6, 2.13, 2.15
"""The keys in a module's ``__dict__`` of what is registered on it."""

CONVOLVE = "_conv_forward"  # 2.6, 2.13, 2.15
CHECK_DIMENSIONS = "_check_input_dim"  # 2.6, 2.13, 2.15
"""Methods that the forwards of convolutions and of batch norms call."""
REVERSED_PADDING = "_reversed_padding_repeated_twice"  # 2.6, 2.13, 2.15
"""An attribute that the forward of a convolution reads."""

registered_in_dict: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(PARAMETERS, BUFFERS, MODULES)
registered_on: Callable[[nn.Module], tuple[Any, ...]] = attrgetter(PARAMETERS, BUFFERS, MODULES)
"""The parameters, buffers and children of a module. torch.jit's modules have attributes, and no keys."""

hooks_on_gradient: Callable[[torch.Tensor], dict[int, Any] | None] = attrgetter("_backward_hooks")  # 2.6, 2.13, 2.15
hooks_after_accumulation: Callable[[torch.Tensor], dict[int, Any] | None] = attrgetter(
    "_post_accumulate_grad_hooks"  # 2.6, 2.13, 2.15
)
"""Of a tensor: what ``register_hook`` and ``register_post_accumulate_grad_hook`` have registered."""

CALL_SLOT = "_compiled_call_impl"  # 2.6, 2.13, 2.15
"""Where a module has a function under this key, calling the module calls that, in place of its forward and hooks."""

OWN_CALL = "_call_impl"  # 2.6, 2.13, 2.15
"""Where a module has a function under this key, that is how it is called where its ``CALL_SLOT`` is empty."""

RECURRENT_WEIGHTS = "_flat_weights_names"  # 2.6, 2.13, 2.15
"""The attribute of torch's own recurrent layers that names their parameters."""


def is_called_plainly(kind: type[nn.Module]) -> bool:
    """Whether ``nn.Module`` calls the forward and the hooks of a class's modules, and finds those by their keys."""
    is_inherited = kind._call_impl is nn.Module._call_impl  # 2.6, 2.13, 2.15
    return is_inherited and not issubclass(kind, torch.jit.ScriptModule)


def call_with_hooks(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What calling a module does that has nothing in its ``CALL_SLOT``."""
    return module._call_impl(*args, **kwargs)  # 2.6, 2.13, 2.15


FORWARD_PRE_HOOKS, FORWARD_HOOKS = "_forward_pre_hooks", "_forward_hooks"  # 2.6, 2.13, 2.15
BACKWARD_PRE_HOOKS, BACKWARD_HOOKS = "_backward_pre_hooks", "_backward_hooks"  # 2.6, 2.13, 2.15
"""The keys in a module's ``__dict__`` of what torch runs when it is called, beside its forward and global hooks."""

GLOBAL_HOOKS: tuple[Mapping[int, Any], Mapping[int, Any]] = (_global_forward_pre_hooks, _global_forward_hooks)


def remove_global_hook(handle: RemovableHandle) -> None:
    """Removes a global forward hook, and the flag that torch forgets and then takes for a hook."""
    handle.remove()
    _global_forward_hooks_with_kwargs.pop(handle.id, None)


def script_attributes(module: torch.jit.ScriptModule, names: Sequence[str]) -> dict[str, Any]:
    """Those of these attributes that a module of torch.jit's holds in C++."""
    return {name: module._c.getattr(name) for name in names if module._c.hasattr(name)}  # 2.6, 2.13, 2.15


def qualified_type(script_object: torch.ScriptObject) -> str:
    """The full name of the class of an object of torch's C++ code."""
    name: str = script_object._type().qualified_name()  # 2.6, 2.13, 2.15
    return name


def set_in_script_module(module: torch.jit.ScriptModule, name: str, value: Any) -> None:
    """Sets a parameter or buffer of torch.jit's, which refuses to have one replaced."""
    module._c.setattr(name, value)  # 2.6, 2.13, 2.15


def chunks_probabilities() -> bool:
    """Whether ``LinearCrossEntropyLoss`` takes probabilities of classes chunk by chunk, too, as it takes indices."""
    module = sys.modules.get("torch.nn.modules.linear_cross_entropy")  # 2.13, 2.15
    return hasattr(module, "_corrected_target")  # 2.15


# -- the compiler ------------------------------------------------------------------------------------------------


def may_compile() -> bool:
    """Whether anything in this process can be compiled: torch's compiler, or what compiles by itself, is loaded."""
    return "torch._dynamo" in sys.modules or "torch.nn.attention.flex_attention" in sys.modules  # 2.6, 2.13, 2.15
