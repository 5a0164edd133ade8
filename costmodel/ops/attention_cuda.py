"""Fused attention on a GPU, and its gradients: FlashAttention, the memory-efficient kernel, and cuDNN's.

Outputs are those of torch's kernels for meta tensors: some are numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import OpCall
from costmodel.ops import attention
from costmodel.ops.access import everything
from costmodel.ops.gradients import attention as gradients
from costmodel.ops.rule import Rule, Torch, always, every_argument, no_temporaries, register_for_gpus
from costmodel.quantities import Traffic, Work


def _gradient(call: OpCall) -> Work:
    # What dropout removed, and what it scaled, it removes and scales again in the weights, and in their gradient.
    out, key = call.args["out"], call.args["key"]
    width = out.shape[-1]
    scores = out.size // width * key.shape[-2] if width else 0
    dropped = Work(multiplies=4 * scores) if call.args["dropout_p"] else Work()
    return gradients.work_of(call.args) + dropped


def _rule(target: str, work: Callable[[OpCall], Work], traffic: Callable[[OpCall], Traffic]) -> Rule:
    return Rule(
        targets=(target,), kind=always("attention"), outputs=Torch.META, work=work, traffic=traffic,
        temporaries=no_temporaries, access=everything, fusible=False,
        source="Dao et al., FlashAttention, arXiv:2205.14135", free_because=None, examples=(),
    )  # fmt: skip


for _kernel in ("flash", "efficient", "cudnn"):
    _op = f"aten._scaled_dot_product_{_kernel}_attention"
    register_for_gpus(
        _rule(f"{_op}.default", attention.work_of, attention.traffic_of),
        _rule(f"{_op}_backward.default", _gradient, every_argument),
    )
