"""``_foreach`` ops: the same elementwise op on each of a list of tensors, as optimizers run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import aligned
from costmodel.ops.complex_numbers import ABSOLUTE, Arithmetic, by_parts, function_of
from costmodel.ops.elementwise import floating, magnitude, promoted
from costmodel.ops.reduction import complex_norm_work, norm_work
from costmodel.ops.rule import Example, Outputs, Rule, always, example, moved, no_temporaries, register
from costmodel.quantities import Traffic, Work

_X, _Y = TensorSpec((2, 3)), TensorSpec((4,))
_LIST, _OTHER = [_X, _Y], [TensorSpec((2, 3)), TensorSpec((4,))]

PerTensor = Callable[[Arguments], Work]
"""The work of one tensor, from its own arguments."""


def of_each(args: Arguments) -> Iterator[Arguments]:
    """The arguments of each tensor: its own item of every list, and what is given for all."""
    lists = [v for v in args.values() if isinstance(v, list)]
    for i in range(len(lists[0])):
        yield {name: v[i] if isinstance(v, list) else v for name, v in args.items()}


def _tensor(args: Arguments) -> TensorSpec:
    own: TensorSpec = next(v for v in args.values() if type(v) is TensorSpec)
    return own


def _like_self(args: Arguments) -> TensorSpec:
    return promoted({"self": args["self"]})


def _one(args: Arguments) -> TensorSpec:
    return TensorSpec((), layout.real_dtype(args.get("dtype") or args["self"].dtype))


def _outputs(one: Callable[[Arguments], TensorSpec]) -> Callable[[Arguments], Outputs]:
    return lambda args: tuple(one(each) for each in of_each(args))


def _itself(args: Arguments) -> Outputs:
    """What an op in place writes into."""
    return tuple(args["self"])


def _in_place(call: OpCall) -> bool:
    return call.op.split(".")[1].endswith("_")


def _total(per_tensor: PerTensor) -> Callable[[OpCall], Work]:
    return lambda call: sum((per_tensor(each) for each in of_each(call.args)), Work())


def _traffic(overwrites: bool) -> Callable[[OpCall], Traffic]:
    def traffic(call: OpCall) -> Traffic:
        kept = (t for name, t in call.tensors() if not (overwrites and name.startswith("self")))
        return moved(kept, call.args["self"] if _in_place(call) else call.outputs)

    return traffic


def _access(call: OpCall, output: int) -> AccessMap:
    y = call.outputs[output]
    own = f"[{output}]"
    return {
        name: aligned(t, y) if name.endswith(own) and len(t.shape) <= len(y.shape) else (All(),) * len(t.shape)
        for name, t in call.tensors()
        if name.endswith(own) or not name.endswith("]")
    }


def _per_element(**counts: int) -> PerTensor:
    return _of_each_element(Work(**counts))


def _of_each_element(work: Work) -> PerTensor:
    return lambda args: work.times(_tensor(args).size)


def _scaled(name: str, *lists: str, **counts: int) -> PerTensor:
    """So much an element, and a multiplication where the scale is not 1."""
    base = _per_element(**counts)

    def work(args: Arguments) -> Work:
        scale = next((args[n] for n in (name, *lists) if n in args), 1)
        return base(args) + (Work(multiplies=_tensor(args).size) if scale != 1 else Work())

    return work


def _power(args: Arguments) -> Work:
    n, exponent = _tensor(args).size, args["exponent"]
    if not isinstance(exponent, (int, float)):
        return Work(transcendentals=n)
    if exponent == -1:
        return Work(divides=n)
    if exponent in (0, 1):
        return Work()
    if float(exponent).is_integer() and exponent > 1:
        return Work(multiplies=n * (int(exponent) - 1))
    return Work(transcendentals=n)


def _norm(args: Arguments) -> Work:
    n = args["self"].size
    return norm_work(n, float(args["ord"])) if n else Work()


def _complex_norm(args: Arguments) -> Work:
    n = args["self"].size
    return complex_norm_work(n, float(args["ord"])) if n else Work()


def _power_sum(args: Arguments) -> Work:
    """The powers and their sum: a norm without its root."""
    n = args["self"].size
    power = {0: Work(compares=1), 1: Work(), 2: Work(multiplies=1)}.get(args["ord"], Work(transcendentals=1))
    return power.times(n) + Work(adds=n - 1) if n else Work()


def _complex_power_sum(args: Arguments) -> Work:
    x, order = args["self"], args["ord"]
    if order == 2:  # of both parts
        return _power_sum({"self": TensorSpec((2 * x.size,)), "ord": 2})
    found = Work(compares=x.size) if order == 0 else ABSOLUTE.times(x.size)
    return found + _power_sum(args)


def _product(args: Arguments) -> TensorSpec:
    a, b = args["self"], args["mat2"]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"a product of matrices of shapes {a.shape} and {b.shape} does not fit")
    return TensorSpec((a.shape[0], b.shape[1]), layout.result_dtype([a, b]))


def _product_work(args: Arguments) -> Work:
    return Work(macs=args["self"].size * args["mat2"].shape[1])


def _product_access(call: OpCall, output: int) -> AccessMap:
    return {f"self[{output}]": (Affine(0), All()), f"mat2[{output}]": (All(), Affine(1))}


def _cloned(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.in_memory_format(x, args["memory_format"], x.shape))


def _as_stored(args: Arguments) -> TensorSpec:
    # What is written over keeps its strides, unless elements share their memory.
    own: TensorSpec = args["self"]
    return _like_self(args) if 0 in own.full_strides else own


def largest_copy(tensors: Iterable[TensorSpec]) -> list[TensorSpec]:
    """One after the other, tensors that are not contiguous are copied."""
    copies = [TensorSpec(t.shape, t.dtype) for t in tensors if not t.is_contiguous]
    return [max(copies, key=lambda t: t.nbytes)] if copies else []


def _greatest(args: Arguments) -> Work:
    return Work(compares=max(args["self"].size - 1, 0))


def _foreach(
    name: str,
    overload: str,
    work: PerTensor,
    case: Example,
    one: Callable[[Arguments], TensorSpec] = promoted,
    in_place: bool = True,
    overwrites: bool = False,
    temporaries: Callable[[Arguments], list[TensorSpec]] = lambda args: [],
    of_complex: PerTensor | None = None,
) -> list[Rule]:
    """The rules of one op and of its in-place variant, which returns nothing.

    ``of_complex`` is the work with complex numbers, where that is not what ``work`` does with their parts.
    """
    if of_complex is None:
        arithmetic = by_parts(_total(work), function_of(f"aten.{name}"))
    else:
        arithmetic = Arithmetic(_total(work), _total(of_complex))

    def rule(target: str, outputs: Callable[[Arguments], Outputs]) -> Rule:
        return Rule(
            targets=(target,), kind=always("other"), outputs=outputs, work=arithmetic, traffic=_traffic(overwrites),
            access=_access, temporaries=temporaries, fusible=True, free_because=None, examples=(case,),
            source="torch._foreach: the op without _foreach, on each tensor",
        )  # fmt: skip

    rules = [rule(f"aten._foreach_{name}.{overload}", _outputs(one))]
    if in_place:
        rules.append(rule(f"aten._foreach_{name}_.{overload}", _itself))
    return rules


_BITS = ("neg", "abs", "ceil", "floor", "round", "trunc", "frac", "sign")
_FUNCTIONS = (
    "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "erf", "erfc", "lgamma",
)  # fmt: skip
_BINARY: dict[str, PerTensor] = {
    "add": _scaled("alpha", adds=1), "sub": _scaled("alpha", adds=1), "mul": _per_element(multiplies=1),
    "div": _per_element(divides=1), "maximum": _per_element(compares=1), "minimum": _per_element(compares=1),
    "clamp_max": _per_element(compares=1), "clamp_min": _per_element(compares=1), "pow": _power,
}  # fmt: skip
_FUSED = {
    "addcmul": _scaled("value", "scalars", multiplies=1, adds=1),
    "addcdiv": _scaled("value", "scalars", divides=1, adds=1),
}
_UNARY = example(_LIST)


def _operand(name: str) -> Callable[[Arguments], TensorSpec]:
    # A number counts for the dtype under the name that elementwise ops have for it.
    def one(args: Arguments) -> TensorSpec:
        if type(args["self"]) is not TensorSpec:  # a number to the power of a tensor
            y = promoted({"self": args["self"], "other": args["exponent"]})
            return TensorSpec(y.shape, y.dtype)
        other: Any = next((args[n] for n in ("other", "scalar", "scalars", "exponent") if n in args), None)
        operands = {"self": args["self"], "other": other}
        return floating(operands) if name == "div" else promoted(operands)

    return one


def _all() -> Iterator[Rule]:
    for name in _BITS:
        if name == "abs":
            yield from _foreach(
                name, "default", _per_element(), _UNARY, magnitude, of_complex=_of_each_element(ABSOLUTE)
            )
        else:
            yield from _foreach(name, "default", _per_element(), _UNARY)
    for name in _FUNCTIONS:
        yield from _foreach(name, "default", _per_element(transcendentals=1), _UNARY, floating)
    yield from _foreach("sigmoid", "default", _per_element(transcendentals=1, adds=1, divides=1), _UNARY, floating)
    yield from _foreach("reciprocal", "default", _per_element(divides=1), _UNARY, floating)
    for name, work in _BINARY.items():
        for overload, case in (
            ("Scalar", example(_LIST, 2.0)), ("ScalarList", example(_LIST, [2.0, 3.0])),
            ("List", example(_LIST, _OTHER)), ("Tensor", example(_LIST, TensorSpec(()))),
        ):  # fmt: skip
            if overload != "Tensor" or name in ("add", "mul", "div"):
                yield from _foreach(name, overload, work, case, _operand(name))
    yield from _foreach("pow", "ScalarAndTensor", _power, example(2.0, _LIST), _operand("pow"), in_place=False)
    for name, work in _FUSED.items():
        for overload, case in (
            ("Scalar", example(_LIST, _OTHER, _OTHER, 2)), ("ScalarList", example(_LIST, _OTHER, _OTHER, [2.0, 1.0])),
            ("Tensor", example(_LIST, _OTHER, _OTHER, TensorSpec((2,)))),
        ):  # fmt: skip
            yield from _foreach(name, overload, work, case, _like_self)
    for overload, case in (
        ("Scalar", example(_LIST, _OTHER, 0.5)), ("ScalarList", example(_LIST, _OTHER, [0.5, 0.25])),
        ("List", example(_LIST, _OTHER, _OTHER)),
    ):  # fmt: skip
        yield from _foreach("lerp", overload, _per_element(adds=2, multiplies=1), case, _like_self)
    yield from _foreach("norm", "Scalar", _norm, _UNARY, _one, in_place=False, of_complex=_complex_norm)
    yield from _foreach(
        "max", "default", _greatest, _UNARY, _one, in_place=False, temporaries=lambda args: largest_copy(args["self"])
    )
    yield from _foreach("powsum", "Scalar", _power_sum, _UNARY, _one, in_place=False, of_complex=_complex_power_sum)
    yield from _foreach("clone", "default", _per_element(), _UNARY, _cloned, in_place=False)
    yield from _foreach("copy", "default", _per_element(), example(_LIST, _OTHER), _as_stored, overwrites=True)
    yield from _foreach("zero", "default", _per_element(), _UNARY, overwrites=True)
    yield Rule(
        targets=("aten._foreach_mm.default",),
        kind=always("matmul"),
        outputs=_outputs(_product),
        work=_total(_product_work),
        traffic=_traffic(overwrites=False),
        access=_product_access,
        temporaries=no_temporaries,
        fusible=False,
        free_because=None,
        source="torch._foreach_mm: mm of each pair",
        examples=(example([_X, TensorSpec((1, 4))], [TensorSpec((3, 5)), TensorSpec((4, 2))]),),
    )


register(*_all())
