"""Activation functions, in place and not, and the softmax family."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import pointwise
from costmodel.ops.composite import Composite, register_composites
from costmodel.ops.defaults import default_float
from costmodel.ops.elementwise import ONE_FUNCTION, each, elementwise, float_casts, per_element
from costmodel.ops.quantisation import on_grids
from costmodel.ops.rule import Rule, always, every_argument, example, moved, no_temporaries, register
from costmodel.ops.temporaries import bytes_besides, contiguous, copy
from costmodel.quantities import Traffic, Work

_X = TensorSpec((2, 6, 4))
_SIGMOID = Work(transcendentals=1, adds=1, divides=1)
"""1 / (1 + exp(-x))"""


def _like_self(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.elementwise_strides(x.shape, (x,)))


def _preserved(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, (x,)))


def _floating(args: Arguments) -> TensorSpec:
    y = _like_self(args)
    return y if layout.category(y.dtype) >= 2 else TensorSpec(y.shape, default_float(), y.strides)


def _contiguous(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _activation(
    name: str,
    work: Work | Callable[[OpCall], Work],
    *arguments: object,
    source: str,
    inplace: bool = True,
    outputs: Callable[[Arguments], TensorSpec] = _like_self,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    """The rule of ``aten.name`` and, where there is one, ``aten.name_``; its example is ``name(x, *arguments)``."""
    targets = (f"aten.{name}.default", f"aten.{name}_.default") if inplace else (f"aten.{name}.default",)
    return elementwise(
        *targets, kind="activation", work=per_element(work) if isinstance(work, Work) else work, outputs=outputs,
        temporaries=float_casts if outputs is _floating else temporaries, source=source,
        examples=(example(_X, *arguments),),
    )  # fmt: skip


def _buffer(args: Arguments) -> list[TensorSpec]:
    """exp(-|x|), which the kernel keeps for the backward pass; and the input made contiguous."""
    x = args["self"]
    return [copy(x), *contiguous("self")(args)]


def _noise_temporaries(copies: int) -> Callable[[Arguments], list[TensorSpec]]:
    """In training, contiguous copies: of the input, and of the result where that is the input."""
    return lambda args: list(contiguous("self")(args)) * copies if args["training"] else []


def _noise_access(call: OpCall, output: int) -> AccessMap:
    return {"self": tuple(map(Affine, range(len(call.args["self"].shape))))}


def _noise_traffic(call: OpCall) -> Traffic:
    # In training the slopes that were drawn are written beside the result; else nothing is drawn.
    args = call.args
    return moved([args["self"]], [*call.outputs, *([args["noise"]] if args["training"] else [])])


def _elu_work(call: OpCall) -> Work:
    # x > 0 ? x : alpha * (exp(x) - 1); torch's own kernel can scale the input and the result as well.
    scalings = sum(call.args.get(name, 1) != 1 for name in ("scale", "input_scale"))
    return Work(compares=1, transcendentals=1, adds=1, multiplies=1 + scalings).times(call.outputs[0].size)


def _gelu_work(call: OpCall) -> Work:
    if call.args["approximate"] == "tanh":
        # 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x x x)))
        work = Work(multiplies=6, adds=2, transcendentals=1)
    else:
        # 0.5 x (1 + erf(x / sqrt(2)))
        work = Work(multiplies=3, adds=1, transcendentals=1)
    return work.times(call.outputs[0].size)


def _logit_work(call: OpCall) -> Work:
    # log(x / (1 - x)), x clamped to eps .. 1 - eps where that is given.
    clamp = 2 if call.args["eps"] is not None else 0
    return Work(adds=1, divides=1, transcendentals=1, compares=clamp).times(call.outputs[0].size)


register(
    _activation("relu", Work(compares=1), source="torch.nn.ReLU: max(0, x)"),
    _activation("hardtanh", Work(compares=2), -1, 1, source="torch.nn.Hardtanh, and ReLU6 by its bounds 0 and 6",
                outputs=_preserved),
    _activation("relu6", Work(compares=2), source="torch.nn.ReLU6: min(max(0, x), 6)"),
    _activation("leaky_relu", on_grids(each(compares=1, multiplies=1)), 0.1,
                source="torch.nn.LeakyReLU: x > 0 ? x : slope x"),
    _activation("threshold", Work(compares=1), 0.1, 20, source="torch.nn.Threshold: x > threshold ? x : value"),
    _activation("sigmoid", on_grids(per_element(_SIGMOID)), source="torch.nn.Sigmoid: 1 / (1 + exp(-x))",
                outputs=_floating),
    _activation("tanh", on_grids(ONE_FUNCTION), source="torch.nn.Tanh", outputs=_floating),
    _activation("silu", _SIGMOID + Work(multiplies=1), source="torch.nn.SiLU: x sigmoid(x)"),
    _activation("mish", Work(transcendentals=3, adds=1, multiplies=1), source="torch.nn.Mish: x tanh(log(1 + exp(x)))"),
    _activation(
        "softplus", Work(multiplies=1, transcendentals=2, adds=1, divides=1, compares=1), 1, 20, inplace=False,
        source="torch.nn.Softplus: log(1 + exp(beta x)) / beta, and x above the threshold",
    ),
    _activation("hardshrink", Work(compares=2), 0.5, inplace=False, source="torch.nn.Hardshrink"),
    _activation("softshrink", Work(compares=2, adds=1), 0.5, inplace=False, source="torch.nn.Softshrink"),
    _activation(
        "hardsigmoid", on_grids(each(adds=1, compares=2, divides=1)), source="torch.nn.Hardsigmoid: relu6(x + 3) / 6"
    ),
    _activation(
        "hardswish", Work(adds=1, compares=2, divides=1, multiplies=1), source="torch.nn.Hardswish: x relu6(x + 3) / 6"
    ),
    _activation("elu", _elu_work, source="torch.nn.ELU: x > 0 ? x : alpha (exp(x) - 1)"),
    _activation(
        "selu", Work(compares=1, transcendentals=1, adds=1, multiplies=2),
        source="torch.nn.SELU: scale (x > 0 ? x : alpha (exp(x) - 1))",
    ),
    _activation(
        "celu", Work(compares=1, transcendentals=1, adds=1, multiplies=1, divides=1), 0.5,
        source="torch.nn.CELU: x > 0 ? x : alpha (exp(x / alpha) - 1)",
    ),
    _activation(
        "rrelu", Work(compares=1, multiplies=1), outputs=_contiguous,
        source="torch.nn.RReLU: x > 0 ? x : slope x, the slope drawn",
    ),
    *(
        Rule(
            targets=(f"aten.{name}.default",), kind=always("activation"), outputs=_contiguous,
            work=each(compares=1, multiplies=1), traffic=_noise_traffic, access=_noise_access,
            temporaries=_noise_temporaries(copies), fusible=True,
            source="torch.nn.RReLU: x > 0 ? x : slope x; the slopes are drawn and stored", free_because=None,
            examples=(example(_X, _X, training=True), example(_X, _X)),
        )
        for name, copies in (("rrelu_with_noise", 1), ("rrelu_with_noise_", 2))
    ),
    _activation("logit", _logit_work, 0.1, source="torch.logit: log(x / (1 - x))", outputs=_floating),
    _activation(
        "log_sigmoid", Work(transcendentals=2, adds=1), inplace=False, outputs=_contiguous, temporaries=_buffer,
        source="torch.nn.LogSigmoid: -log(1 + exp(-x))",
    ),
    Rule(
        targets=("aten.log_sigmoid_forward.default",), kind=always("activation"),
        outputs=lambda args: (_contiguous(args), _contiguous(args)),
        work=per_element(Work(transcendentals=2, adds=1)), traffic=every_argument, access=pointwise,
        temporaries=contiguous("self"), fusible=True, source="torch.nn.LogSigmoid, which keeps exp(-|x|)",
        free_because=None, examples=(example(_X),),
    ),
    elementwise(
        "aten.gelu.default", "aten.gelu_.default", work=on_grids(_gelu_work), kind="activation", outputs=_like_self,
        source="Hendrycks & Gimpel, Gaussian Error Linear Units, arXiv:1606.08415",
        examples=(example(_X), example(_X, approximate="tanh")),
    ),
    elementwise(
        "aten._prelu_kernel.default", work=each(compares=1, multiplies=1), kind="activation",
        source="torch.nn.PReLU: x > 0 ? x : weight x", examples=(example(_X, TensorSpec((1, 6, 1))),),
    ),
)  # fmt: skip


# Along one dimension ---------------------------------------------------------------------------------------------


def _glu(args: Arguments) -> TensorSpec:
    x = args["self"]
    d = args["dim"] % len(x.shape)
    if x.shape[d] % 2:
        raise ValueError(f"GLU halves dimension {d} of {x.shape}, which is odd")
    shape = (*x.shape[:d], x.shape[d] // 2, *x.shape[d + 1 :])
    half = TensorSpec(shape, x.dtype, None if x.strides is None else x.strides)
    return TensorSpec(shape, x.dtype, layout.elementwise_strides(shape, (half,)))


def _glu_access(call: OpCall, output: int) -> AccessMap:
    # Output i of the halved dimension depends on inputs i and i + half.
    x = call.args["self"]
    halved = call.args["dim"] % len(x.shape)
    half = x.shape[halved] // 2
    return {"self": tuple(Affine(d, last=half) if d == halved else Affine(d) for d in range(len(x.shape)))}


def _softmax(args: Arguments) -> TensorSpec:
    x = args["self"]
    dtype = args.get("dtype") or ("float32" if args.get("half_to_float") else x.dtype)
    return TensorSpec(x.shape, dtype)


def _rows(call: OpCall) -> tuple[int, int]:
    """How many rows a softmax normalises, and the length of one."""
    x = call.args["self"]
    n = x.shape[call.args["dim"]] if x.shape else 1
    return x.size // n if n else 0, n


def softmax_work(rows: int, n: int) -> Work:
    """exp(x - max(x)) / sum(...) over each of ``rows`` rows of ``n`` elements."""
    return Work(compares=n - 1, adds=n + n - 1, transcendentals=n, divides=n).times(rows)


def _log_softmax_work(call: OpCall) -> Work:
    # With c = x - max(x), the result is c - log(sum(exp(c))).
    rows, n = _rows(call)
    return Work(compares=n - 1, adds=n + n - 1 + n, transcendentals=n + 1).times(rows)


def _softmax_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    along = call.args["dim"] % max(rank, 1)
    return {"self": tuple(All() if d == along else Affine(d) for d in range(rank))}


_CONTIGUOUS_SELF = contiguous("self")


def _safe_softmax_temporaries(args: Arguments) -> list[TensorSpec]:
    """The input made contiguous for the softmax; then one byte per score and per row: is it all minus infinity?"""
    x = args["self"]
    rows = x.size // x.shape[args["dim"]] if x.size else 0
    softmax = sum(t.nbytes for t in contiguous("self")(args))
    return bytes_besides(0, softmax, x.size + rows)


def _softmax_rule(
    *targets: str,
    work: Callable[[OpCall], Work],
    arguments: tuple[object, ...],
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = _CONTIGUOUS_SELF,
) -> Rule:
    return Rule(
        targets=targets, kind=always("activation"), outputs=_softmax, work=work, traffic=every_argument,
        access=_softmax_access,
        temporaries=temporaries, fusible=False, source="torch.nn.Softmax, made stable by subtracting the maximum",
        free_because=None, examples=(example(_X, *arguments),),
    )  # fmt: skip


register(
    Rule(
        targets=("aten.glu.default",), kind=always("activation"), outputs=_glu,
        work=per_element(_SIGMOID + Work(multiplies=1)), traffic=every_argument, access=_glu_access,
        temporaries=no_temporaries, fusible=False,
        source="torch.nn.GLU: a sigmoid(b) of the halves a and b", free_because=None,
        examples=(example(_X, 1), example(_X)),
    ),
    _softmax_rule("aten._softmax.default", work=lambda call: softmax_work(*_rows(call)), arguments=(-1, False)),
    _softmax_rule("aten._log_softmax.default", work=_log_softmax_work, arguments=(1, False)),
    # A row that is masked out entirely becomes 0 instead of NaN: a selection, no arithmetic.
    _softmax_rule("aten._safe_softmax.default", work=lambda call: softmax_work(*_rows(call)), arguments=(-1,),
                  temporaries=_safe_softmax_temporaries),
)  # fmt: skip


def _core_arguments_of_softmax(args: Arguments) -> Arguments | None:
    if args["dtype"] not in (None, args["self"].dtype):
        return None
    return {"self": args["self"], "dim": args["dim"], "half_to_float": False}


register_composites(
    *(
        Composite(targets=(f"aten.{name}.int",), core=f"aten._{name}.default", arguments=_core_arguments_of_softmax,
                  examples=(example(_X, 1),))
        for name in ("softmax", "log_softmax")
    )
)  # fmt: skip
