"""Ops that look at values or at metadata, and return no tensor."""

from __future__ import annotations

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import nothing
from costmodel.ops.rule import (
    Outputs,
    Rule,
    Torch,
    always,
    every_argument,
    example,
    free,
    no_temporaries,
    no_work,
    register,
)
from costmodel.quantities import Work

_ONE = TensorSpec((), "int64")
_X = TensorSpec((2, 3))


def _no_tensor(args: Arguments) -> Outputs:
    return ()


def _compares(call: OpCall) -> Work:
    return Work(compares=call.args["self"].size)


register(
    Rule(
        targets=("aten._local_scalar_dense.default",), kind=always("other"), outputs=Torch.VALUE, work=no_work,
        traffic=every_argument, access=nothing,
        temporaries=no_temporaries, fusible=False, source="Tensor.item(): one value is read",
        free_because=None, examples=(example(_ONE),),
    ),
    Rule(
        targets=("aten._assert_async.default",), kind=always("other"), outputs=_no_tensor, work=no_work,
        traffic=every_argument, access=nothing,
        temporaries=no_temporaries, fusible=False, source="torch._assert_async: one value is read",
        free_because=None, examples=(example(TensorSpec(())),),
    ),
    Rule(
        targets=("aten._assert_async.msg",), kind=always("other"), outputs=_no_tensor, work=no_work,
        traffic=every_argument, access=nothing,
        temporaries=no_temporaries, fusible=False, source="torch._assert_async: one value is read",
        free_because=None, examples=(example(TensorSpec(()), "text"),),
    ),
    Rule(
        targets=("aten.equal.default",), kind=always("other"), outputs=Torch.VALUE, work=_compares,
        traffic=every_argument, access=nothing,
        temporaries=no_temporaries, fusible=False, source="torch.equal: element by element, to the first "
        "that differs, which is taken to be none", free_because=None, examples=(example(_X, _X),),
    ),
    free("aten._assert_scalar.default", because="a number is checked, not a tensor", kind="other", outputs=_no_tensor,
         access=nothing, examples=(example(True, "text"),)),
    free("aten._assert_tensor_metadata.default", because="shapes and dtypes are checked, not values", kind="other",
         outputs=_no_tensor, access=nothing, examples=(example(_X, [2, 3]),)),
    free("aten.sym_size.int", "aten.sym_stride.int", because="a shape is asked for, not values", kind="other",
         outputs=_no_tensor, access=nothing, examples=(example(_X, 1),)),
    free("aten.sym_numel.default", "aten.sym_storage_offset.default", because="a shape is asked for, not values",
         kind="other", outputs=_no_tensor, access=nothing, examples=(example(_X),)),
)  # fmt: skip
