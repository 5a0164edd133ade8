"""Gradients of activations: the incoming gradient g times the slope at each position."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything, pointwise
from costmodel.ops.elementwise import each, elementwise, per_element, promoted
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.quantities import Work

_X = TensorSpec((2, 6, 4))
_SIGMOID = Work(transcendentals=1, adds=1, divides=1)
"""1 / (1 + exp(-x))"""


def _stored_like_input(args: Arguments) -> TensorSpec:
    """Of kernels whose first operand is the input, in whose order of memory the gradient is."""
    return layout.elementwise({name: args[name] for name in ("self", "grad_output")})


def _stored_like_gradient(args: Arguments) -> TensorSpec:
    x, g = args["self"], args["grad_output"]
    return TensorSpec(g.shape, x.dtype, layout.preserved_strides(g.shape, [g]))


def _stored_like_slopes(args: Arguments) -> TensorSpec:
    """In training, the product of the slopes that were drawn and the gradient."""
    return layout.elementwise({name: args[name] for name in ("noise" if args["training"] else "self", "grad_output")})


def _gradient(
    name: str,
    work: Work | Callable[[OpCall], Work],
    *arguments: object,
    source: str,
    outputs: Callable[[Arguments], TensorSpec] = promoted,
) -> Rule:
    """The rule of ``aten.name_backward``; its example is ``name_backward(g, x, *arguments)``."""
    return elementwise(
        f"aten.{name}_backward.default", work=per_element(work) if isinstance(work, Work) else work, kind="activation",
        outputs=outputs, source=source, temporaries=no_temporaries, examples=(example(_X, _X, *arguments),),
    )  # fmt: skip


def _gelu_work(call: OpCall) -> Work:
    if call.args["approximate"] == "tanh":
        # With u = sqrt(2/pi) (x + c x x x) and t = tanh(u): g ((1 + t) / 2 + x / 2 (1 - t t) sqrt(2/pi) (1 + 3 c x x)).
        argument = Work(multiplies=4, adds=1)
        slope = Work(multiplies=2 + 1 + 2 + 2, adds=1 + 1 + 1 + 1)
        work = argument + Work(transcendentals=1) + slope + Work(multiplies=1)
    else:
        # g (cdf + x pdf), of cdf = (1 + erf(x / sqrt(2))) / 2 and pdf = exp(-x x / 2) / sqrt(2 pi).
        cdf, pdf = Work(multiplies=2, adds=1, transcendentals=1), Work(multiplies=3, transcendentals=1)
        work = cdf + pdf + Work(multiplies=2, adds=1)
    return work.times(call.outputs[0].size)


def _elu_work(call: OpCall) -> Work:
    # x > 0 ? g : g alpha exp(x), or g (y + alpha) of the result y; torch's kernel can scale input and result as well.
    args = call.args
    scalings = (args["scale"] != 1) + 2 * (args["input_scale"] != 1 and not args["is_result"])
    slope = Work(adds=1) if args["is_result"] else Work(transcendentals=1, multiplies=1)
    return (slope + Work(compares=1, multiplies=1 + scalings)).times(call.outputs[0].size)


def _rrelu_work(call: OpCall) -> Work:
    # In training the slopes are those that were drawn, and 1 on the right; else as a leaky ReLU.
    slope = Work(multiplies=1) if call.args["training"] else Work(compares=1, multiplies=1)
    return slope.times(call.outputs[0].size)


def _prelu(args: Arguments) -> Outputs:
    tensors = [args["self"], args["weight"], args["grad_output"]]
    shape = layout.broadcast([t.shape for t in tensors])
    strides = layout.elementwise_strides(shape, tensors)
    return (TensorSpec(shape, args["self"].dtype, strides),) * 2


def _glu(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _glu_work(call: OpCall) -> Work:
    # y = a s(b): g s for the half a, and a g s (1 - s) for the half b.
    return (_SIGMOID + Work(multiplies=3, adds=1)).times(call.args["grad_output"].size)


register(
    _gradient("threshold", Work(compares=1), 0.5, outputs=_stored_like_input,
              source="torch.nn.ReLU and Threshold: x > threshold ? g : 0"),
    _gradient("hardtanh", Work(compares=2), -1, 1, source="torch.nn.Hardtanh and ReLU6: g between the bounds"),
    _gradient("leaky_relu", Work(compares=1, multiplies=1), 0.1, False, outputs=_stored_like_input,
              source="torch.nn.LeakyReLU: x > 0 ? g : slope g"),
    _gradient("sigmoid", Work(adds=1, multiplies=2), source="torch.nn.Sigmoid: g y (1 - y)"),
    _gradient("tanh", Work(adds=1, multiplies=2), source="torch.nn.Tanh: g (1 - y y)"),
    _gradient("silu", _SIGMOID + Work(adds=2, multiplies=3),
              source="torch.nn.SiLU: g s (1 + x (1 - s)), s = sigmoid(x)"),
    _gradient(
        "mish", Work(transcendentals=3, adds=1) + _SIGMOID + Work(adds=2, multiplies=4),
        source="torch.nn.Mish: g (t + x s (1 - t t)), t = tanh(log(1 + exp(x))), s = sigmoid(x)",
    ),
    _gradient("gelu", _gelu_work, source="Hendrycks & Gimpel, Gaussian Error Linear Units, arXiv:1606.08415"),
    _gradient("hardsigmoid", Work(compares=2, divides=1), source="torch.nn.Hardsigmoid: |x| < 3 ? g / 6 : 0"),
    _gradient("hardswish", Work(compares=2, adds=1, divides=1, multiplies=1),
              source="torch.nn.Hardswish: g (x / 3 + 1 / 2) between -3 and 3"),
    _gradient("softplus", Work(multiplies=2, transcendentals=1, adds=1, divides=1, compares=1), 1, 20,
              source="torch.nn.Softplus: g z / (z + 1), z = exp(beta x); g above the threshold"),
    _gradient("hardshrink", Work(compares=2), 0.5, source="torch.nn.Hardshrink: 0 between the bounds, else g"),
    _gradient("softshrink", Work(compares=2), 0.5, source="torch.nn.Softshrink: 0 between the bounds, else g"),
    _gradient("logit", Work(compares=2, adds=1, multiplies=1, divides=1), 0.1,
              source="torch.logit: g / (x (1 - x)), 0 or NaN beyond the bounds"),
    _gradient("log_sigmoid", Work(compares=1, adds=2, divides=1, multiplies=1), _X,
              outputs=_stored_like_gradient,
              source="torch.nn.LogSigmoid: g (1 - z / (1 + z)) or g z / (1 + z), z = exp(-|x|) from the forward"),
    elementwise(
        "aten.elu_backward.default", work=_elu_work, kind="activation", temporaries=no_temporaries,
        source="torch.nn.ELU, CELU and SELU: x > 0 ? g : g alpha exp(x)",
        examples=(example(_X, 1.0, 1, 1, False, _X), example(_X, 1.67, 1.05, 1, False, _X),
                  example(_X, 0.5, 1, 2.0, False, _X), example(_X, 1.0, 1, 1, True, _X)),
    ),
    _gradient("rrelu_with_noise", _rrelu_work, _X, 0.1, 0.3, True, False, outputs=_stored_like_slopes,
              source="torch.nn.RReLU: g times the slope that was drawn"),
    Rule(
        targets=("aten._prelu_kernel_backward.default",), kind=always("activation"), outputs=_prelu,
        work=each(compares=1, multiplies=2), traffic=every_argument, access=pointwise, temporaries=no_temporaries,
        fusible=True, source="torch.nn.PReLU: x > 0 ? g : weight g, and of the weight x > 0 ? 0 : x g",
        free_because=None, examples=(example(_X, _X, TensorSpec((1, 6, 1))),),
    ),
    Rule(
        targets=("aten.glu_backward.default",), kind=always("activation"), outputs=_glu, work=_glu_work,
        traffic=every_argument, access=everything, temporaries=no_temporaries, fusible=False,
        source="torch.nn.GLU: of a s(b), g s and a g s (1 - s)", free_because=None,
        examples=(example(TensorSpec((2, 3, 4)), _X, 1), example(TensorSpec((2, 6, 2)), _X, -1)),
    ),
)  # fmt: skip
