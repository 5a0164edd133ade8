"""``register_function``: rules of Python functions and autograd functions that the trace does not look into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from costmodel.access import AccessMap
from costmodel.declared import DECLARED, LAYER_OP, Declared
from costmodel.errors import InputError
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.complex_numbers import as_counted
from costmodel.ops.custom import OpWork, checked_work
from costmodel.ops.rule import (
    KINDS,
    OF_NO_TORCH_OP,
    RULES,
    Outputs,
    Rule,
    Torch,
    always,
    every_argument,
    no_temporaries,
    register,
)
from costmodel.quantities import Traffic, Work


def register_function(
    target: Any,
    *,
    outputs: Callable[[Arguments], Outputs] | None = None,
    arguments: str = "",
    kind: str | Callable[[OpCall], str] = "other",
    traffic: Callable[[OpCall], Traffic] = every_argument,
    access: Callable[[OpCall, int], AccessMap] = everything,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
    bound_because: Callable[[OpCall], str | None] | None = None,
    observe: Callable[[Mapping[str, Any]], dict[str, int]] | None = None,
    source: str = "the user",
) -> Callable[[OpWork], OpWork]:
    """Registers the cost of a ``torch.autograd.Function``, or of a Python function, whose inside cannot be traced.

    In a trace, one op stands for each call, named ``package.Name.function``, and nothing inside is recorded. The
    decorated function returns the arithmetic of a call, as for ``costmodel.register_op``.

    Args:
        target: the class or the function; or its name, ``"package.module:Name"``, which is looked up when the module
            has been imported. A function is replaced in its own module and in those of the model's classes.
        outputs: from the arguments, a ``TensorSpec`` of what it returns, or a tuple of some. It is then not run on meta
            tensors. By default it is run, which needs real tensors.
        arguments: the names of its arguments, separated by spaces; by default those of its signature, without ``ctx``.
        kind: the category, one of ``costmodel.ops.KINDS``, or a function of the call that says it.
        traffic: what it reads and writes; by default every tensor argument once and every output once.
        access: which input positions its outputs depend on; by default all.
        temporaries: a ``TensorSpec`` of each tensor that it allocates besides its outputs and frees before it returns.
        bound_because: why the cost of a call is a lower bound, ``None`` where it is not; by default none is.
        observe: what is read off the arguments' values, a dict of ints, which the decorated function finds in
            ``call.args["observed"]``. On meta tensors it is given only those that have values; where it raises
            ``KeyError`` nothing was read.
        source: where the definition is written down.

    >>> def kernel(x):
    ...     ...
    >>> @register_function(kernel, outputs=lambda args: args["x"])
    ... def kernel_work(call):
    ...     return Work(multiplies=call.args["x"].size)
    >>> DECLARED.pop(kernel).op
    'costmodel.kernel.function'
    >>> del RULES["costmodel.kernel.function"]
    """
    module, _, path = target.partition(":") if isinstance(target, str) else (target.__module__, "", target.__qualname__)
    if not path:
        raise InputError(f"{target!r} does not name a function: write 'package.module:Name'")
    op = f"{module.split('.')[0]}.{path.split('.')[-1]}.function"

    def register_work(function: OpWork) -> OpWork:
        if op in RULES:
            del RULES[op]
        register(
            Rule(
                targets=(op,), kind=kind if callable(kind) else always(kind),
                outputs=Torch.META if outputs is None else outputs,
                work=checked_work(function), traffic=traffic, access=access, temporaries=temporaries, fusible=False,
                source=source, free_because=None, examples=(), bound_because=bound_because, observe=observe,
            )
        )  # fmt: skip
        DECLARED[target] = Declared(op=op, target=target, arguments=tuple(arguments.split()))
        return function

    return register_work


def _layer_traffic(call: OpCall) -> Traffic:
    # Declared in elements; they are taken to be as wide as the layer's output.
    args, size = call.args, call.outputs[0].itemsize
    read, written = args["read"], args["written"]
    return Traffic(read=read, written=written, read_bytes=read * size, written_bytes=written * size)


OF_NO_TORCH_OP[LAYER_OP] = Rule(
    targets=(LAYER_OP,),
    kind=lambda call: call.args["kind"] if call.args["kind"] in KINDS else "other",
    outputs=lambda args: TensorSpec(args["shape"], args["dtype"]),
    work=as_counted(lambda call: Work(**call.args["work"])),
    traffic=_layer_traffic, access=everything, temporaries=no_temporaries, fusible=False,
    source="costmodel.register_layer(..., opaque=True)", free_because=None, examples=(),
)  # fmt: skip
