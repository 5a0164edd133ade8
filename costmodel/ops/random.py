"""Random numbers and dropout. A draw is not arithmetic; it writes what it draws."""

from __future__ import annotations

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import pointwise
from costmodel.ops.composite import Composite, register_composites
from costmodel.ops.defaults import default_float
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, fill, no_temporaries, register
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))
_DRAW = "a random draw is not arithmetic: every element is written once"


def _sized(args: Arguments) -> TensorSpec:
    return TensorSpec(tuple(args["size"]), args["dtype"] or default_float())


def _integers(args: Arguments) -> TensorSpec:
    # torch's default here is int64, which a schema writes as a number.
    return TensorSpec(tuple(args["size"]), args["dtype"] if isinstance(args["dtype"], str) else "int64")


def _permutation(args: Arguments) -> TensorSpec:
    return TensorSpec((args["n"],), args["dtype"] if isinstance(args["dtype"], str) else "int64")


def _like(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(
        x.shape, args.get("dtype") or x.dtype, layout.in_memory_format(x, args.get("memory_format"), x.shape)
    )


def _contiguous(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _normal(args: Arguments) -> TensorSpec:
    tensors = [args[name] for name in ("mean", "std") if type(args[name]) is TensorSpec]
    shape = layout.broadcast([t.shape for t in tensors])
    return TensorSpec(shape, tensors[0].dtype)


def _dropout(args: Arguments) -> Outputs:
    x = args["input"]
    strides = layout.elementwise_strides(x.shape, [x])
    return TensorSpec(x.shape, x.dtype, strides), TensorSpec(x.shape, "bool", strides)


def _mask_as_numbers(args: Arguments) -> list[TensorSpec]:
    x = args["input"]
    return [TensorSpec(x.shape, x.dtype)] if args["train"] is not False else []


def _dropout_work(call: OpCall) -> Work:
    # Times the mask, times 1 / (1 - p).
    return Work(multiplies=2 * call.outputs[0].size) if call.args["train"] is not False else Work()


def _dropout_access(call: OpCall, output: int) -> AccessMap:
    return pointwise(call, output) if output == 0 else {}


def _multinomial(args: Arguments) -> TensorSpec:
    return TensorSpec((*args["self"].shape[:-1], args["num_samples"]), "int64")


def _multinomial_work(call: OpCall) -> Work:
    # The running sum of the weights, its normalisation, and one binary search a sample.
    x = call.args["self"]
    n = x.shape[-1]
    rows = x.size // n if n else 0
    return Work(adds=rows * (n - 1), divides=x.size, compares=call.outputs[0].size * (n - 1).bit_length())


def _rows(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    return {"self": (*(Affine(d) for d in range(rank - 1)), All())}


register(
    fill("aten.rand.default", "aten.randn.default", outputs=_sized, source=_DRAW,
         examples=(example([2, 3]), example([2], dtype="float64"))),
    fill("aten.normal.float_float", outputs=_sized, source=_DRAW, examples=(example(0.0, 1.0, [2, 3]),)),
    fill("aten.randint.default", outputs=_integers, source=_DRAW, examples=(example(5, [2, 3]),)),
    fill("aten.randint.low", outputs=_integers, source=_DRAW, examples=(example(1, 5, [2, 3], dtype="int32"),)),
    fill("aten.randperm.default", outputs=_permutation, source=_DRAW, examples=(example(5),)),
    fill("aten.rand_like.default", "aten.randn_like.default", outputs=_like, source=_DRAW,
         examples=(example(_X), example(_X, dtype="float16"))),
    fill("aten.randint_like.default", outputs=_like, source=_DRAW, examples=(example(_X, 5),)),
    fill("aten.randint_like.low_dtype", outputs=_like, source=_DRAW, examples=(example(_X, 1, 5),)),
    fill("aten.bernoulli_.float", "aten.bernoulli.p", outputs=_contiguous, source=_DRAW, examples=(example(_X, 0.5),)),
    fill("aten.normal_.default", "aten.normal_functional.default", "aten.uniform_.default", "aten.uniform.default",
         outputs=_like, source=_DRAW, examples=(example(_X), example(_X, 0.0, 2.0))),
    fill("aten.exponential_.default", "aten.log_normal_.default", "aten.cauchy_.default", "aten.random_.default",
         outputs=_like, source=_DRAW, examples=(example(_X),)),
    fill("aten.geometric_.default", outputs=_like, source=_DRAW, examples=(example(_X, 0.5),)),
    fill("aten.random_.from", outputs=_like, source=_DRAW, examples=(example(_X, 1, 5),)),
    fill("aten.random_.to", outputs=_like, source=_DRAW, examples=(example(_X, 5),)),
    Rule(targets=("aten.bernoulli.default",), kind=always("other"), outputs=_contiguous,
         work=lambda call: Work(compares=call.outputs[0].size), traffic=every_argument, access=pointwise,
         temporaries=no_temporaries, fusible=True,
         source="one uniform draw compared with each probability", free_because=None, examples=(example(_X),)),
    Rule(targets=("aten.bernoulli_.Tensor",), kind=always("other"), outputs=_like,
         work=lambda call: Work(compares=call.outputs[0].size), traffic=every_argument, access=pointwise,
         temporaries=no_temporaries, fusible=True,
         source="one uniform draw compared with each probability", free_because=None, examples=(example(_X, _X),)),
    *(
        Rule(targets=(target,), kind=always("other"), outputs=_normal,
             work=lambda call: Work(multiplies=call.outputs[0].size, adds=call.outputs[0].size),
             traffic=every_argument, access=pointwise, temporaries=temporaries, fusible=True,
             source="mean + std * draw", free_because=None, examples=(case,))
        for target, temporaries, case in (
            ("aten.normal.Tensor_float", no_temporaries, example(_X, 2.0)),
            ("aten.normal.float_Tensor", contiguous("std"), example(2.0, _X)),
            ("aten.normal.Tensor_Tensor", no_temporaries, example(_X, TensorSpec((3, 1)))),
        )
    ),
    Rule(targets=("aten.multinomial.default",), kind=always("other"), outputs=_multinomial, work=_multinomial_work,
         traffic=every_argument, access=_rows,
         temporaries=no_temporaries, fusible=False, source="inverse transform sampling", free_because=None,
         examples=(example(TensorSpec((2, 5)), 3, True),)),
    Rule(targets=("aten.native_dropout.default",), kind=always("other"), outputs=_dropout, work=_dropout_work,
         traffic=every_argument, access=_dropout_access, temporaries=_mask_as_numbers, fusible=True,
         source="Srivastava et al., Dropout, JMLR 15 (2014): times the mask, times 1 / (1 - p); the mask is stored",
         free_because=None, examples=(example(_X, 0.5, True), example(_X, 0.5, False))),
)  # fmt: skip


def _keeps_everything(args: Arguments) -> bool:
    return not args["train"] or args["p"] == 0 or args["input"].size == 0


register_composites(
    Composite(
        targets=("aten.dropout.default",), core="aten.native_dropout.default", is_identity=_keeps_everything,
        temporaries=no_temporaries, examples=(example(_X, 0.5, True), example(_X, 0.5, False)),
    )
)  # fmt: skip
