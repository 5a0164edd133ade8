"""``register_op``: rules for ops that users define."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from costmodel.access import AccessMap
from costmodel.errors import InputError
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.complex_numbers import as_counted
from costmodel.ops.rule import KINDS, RULES, Outputs, Rule, Torch, always, every_argument, no_temporaries, register
from costmodel.quantities import Traffic, Work

OpWork: TypeAlias = Callable[[OpCall], Work | Mapping[str, int]]


def register_op(
    *targets: str,
    kind: str = "other",
    outputs: Callable[[Arguments], Outputs] | Torch = Torch.META,
    traffic: Callable[[OpCall], Traffic] = every_argument,
    access: Callable[[OpCall, int], AccessMap] = everything,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
    fusible: bool = False,
    source: str = "the user",
    bound_because: Callable[[OpCall], str | None] | None = None,
) -> Callable[[OpWork], OpWork]:
    """Registers a rule for ops of your own; the decorated function returns the arithmetic of one call.

    Args:
        targets: ops as ``"mylib::my_op"`` (its default overload), ``"mylib::my_op.overload"``, or as ``coverage``
            prints them, ``"mylib.my_op.default"``.
        kind: the category, one of ``costmodel.ops.KINDS``.
        outputs: shapes of what it returns, from its arguments; by default torch's meta kernel computes them.
        traffic: what it reads and writes; by default every tensor argument once and every output once.
        access: which input positions its outputs depend on; by default all.
        temporaries: from its arguments, a ``TensorSpec`` of each tensor that it allocates besides its outputs and frees
            before it returns; by default none.
        fusible: whether it could join the kernel that makes its input.
        source: where the definition is written down.
        bound_because: why the cost of a call is a lower bound, ``None`` where it is not; by default none is.

    The function takes an ``OpCall`` (``call.args`` by the op's own argument names, tensors with ``shape``, ``size``
    and ``dtype``; ``call.outputs``) and returns ``costmodel.Work`` or a dict of its fields, which count operations on
    real numbers, also where the tensors are complex. Results are cached: it is called once for all calls with the same
    arguments on tensors of the same shapes, and so is ``outputs``. A rule registered earlier for the same target is
    replaced.

    >>> from costmodel import Work
    >>> @register_op("mylib::scale", kind="multiply", fusible=True)
    ... def scale(call):
    ...     return Work(multiplies=call.outputs[0].size)
    >>> RULES["mylib.scale.default"].fusible
    True
    >>> del RULES["mylib.scale.default"]
    """
    names = tuple(_full_name(t) for t in targets)
    if kind not in KINDS:
        raise InputError(f"kind={kind!r} is no kind of op; there are {', '.join(KINDS)}")
    for said, given in (("traffic", traffic), ("access", access), ("temporaries", temporaries)):
        if not callable(given):
            raise InputError(f"{said}={given!r} is no function: leave it out, or see the documentation of register_op")
    if not callable(outputs) and not isinstance(outputs, Torch):
        raise InputError(f"outputs={outputs!r} is no function of the arguments: leave it out, and torch computes them")
    if bound_because is not None and not callable(bound_because):
        raise InputError(f"bound_because={bound_because!r} is no function of the call, nor None")

    def register_work(function: OpWork) -> OpWork:
        for name in names:
            if name in RULES:
                del RULES[name]
        register(
            Rule(
                targets=names, kind=always(kind), outputs=outputs, work=checked_work(function), traffic=traffic,
                access=access, temporaries=temporaries, fusible=fusible, source=source, free_because=None, examples=(),
                bound_because=bound_because,
            )
        )  # fmt: skip
        return function

    return register_work


def checked_work(function: OpWork) -> Callable[[OpCall], Work]:
    """A user's function as a rule has it: it may return a dict."""

    def work(call: OpCall) -> Work:
        found = function(call)
        if isinstance(found, Work):
            return found
        if isinstance(found, Mapping):
            return Work(**found)
        raise TypeError(
            f"the rule for {call.op!r} returned {found!r}: return costmodel.Work(macs=..., adds=...), or a dict of "
            f"its fields"
        )

    return as_counted(work)


def _full_name(target: str) -> str:
    """``mylib::my_op`` and ``mylib::my_op.out`` as torch prints them: ``mylib.my_op.default``, ``mylib.my_op.out``."""
    if not isinstance(target, str):
        raise InputError(f"{target!r} does not name an op: write 'mylib::my_op' or 'mylib::my_op.overload'")
    namespace, separator, rest = target.partition("::")
    if not separator:
        if target.count(".") != 2:
            raise InputError(f"{target!r} does not name an op: write 'mylib::my_op' or 'mylib::my_op.overload'")
        return target
    name, _, overload = rest.partition(".")
    return f"{namespace}.{name}.{overload or 'default'}"
