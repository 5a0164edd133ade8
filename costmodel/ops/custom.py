"""Rules for ops of a user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from costmodel.access import AccessMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.rule import RULES, Outputs, Rule, Torch, always, every_argument, no_temporaries, register
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
) -> Callable[[OpWork], OpWork]:
    """Gives ops of one's own a price; the decorated function says what arithmetic one call does.

    Args:
        targets: ops as ``"mylib::my_op"`` (its default overload), ``"mylib::my_op.overload"``, or as ``coverage``
            prints them, ``"mylib.my_op.default"``.
        kind: the field's word for it, one of ``costmodel.ops.KINDS``.
        outputs: shapes of what it returns, from its arguments; by default torch's meta kernel is asked.
        traffic: what it reads and writes; by default every tensor argument once and every output once.
        access: what its outputs see of its inputs; by default everything.
        temporaries: from its arguments, a ``TensorSpec`` of each tensor that it allocates besides its outputs and frees
            before it returns; by default none.
        fusible: whether it could join the kernel that makes its input.
        source: where the price is written down.

    The function takes an ``OpCall`` (``call.args`` by the op's own argument names, tensors with ``shape``, ``size``
    and ``dtype``; ``call.outputs``) and returns ``costmodel.Work`` or a dict of its fields. It is asked once for all
    calls with the same arguments on tensors of the same shapes, and so is ``outputs``. A rule that was registered
    before for the same target is replaced.

    >>> from costmodel import Work
    >>> @register_op("mylib::scale", kind="multiply", fusible=True)
    ... def scale(call):
    ...     return Work(multiplies=call.outputs[0].size)
    >>> RULES["mylib.scale.default"].fusible
    True
    >>> del RULES["mylib.scale.default"]
    """

    def register_work(function: OpWork) -> OpWork:
        def work(call: OpCall) -> Work:
            told = function(call)
            if isinstance(told, Work):
                return told
            if isinstance(told, Mapping):
                return Work(**told)
            raise TypeError(
                f"the rule for {call.op!r} returned {told!r}: return costmodel.Work(macs=..., adds=...), or a dict of "
                f"its fields"
            )

        names = tuple(_full_name(t) for t in targets)
        for name in RULES.keys() & set(names):
            del RULES[name]
        register(
            Rule(
                targets=names, kind=always(kind), outputs=outputs, work=work, traffic=traffic, access=access,
                temporaries=temporaries, fusible=fusible, source=source, free_because=None, examples=(),
            )
        )  # fmt: skip
        return function

    return register_work


def _full_name(target: str) -> str:
    """``mylib::my_op`` and ``mylib::my_op.out`` as torch prints them: ``mylib.my_op.default``, ``mylib.my_op.out``."""
    namespace, separator, rest = target.partition("::")
    if not separator:
        if target.count(".") != 2:
            raise ValueError(f"{target!r} does not name an op: write 'mylib::my_op' or 'mylib::my_op.overload'")
        return target
    name, _, overload = rest.partition(".")
    return f"{namespace}.{name}.{overload or 'default'}"
