"""mamba_ssm: the selective scan of Mamba, and the chunked scan of Mamba2 (state space duality).

Both are counted as their definitions are: a recurrence step by step, and matrix products within chunks of the sequence.
Sources: Gu and Dao, arXiv:2312.00752, algorithm 2; Dao and Gu, arXiv:2405.21060, section 6.
"""

from __future__ import annotations

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.functions import register_function
from costmodel.ops.rule import Outputs
from costmodel.ops.third_party.causal_conv1d import convolution
from costmodel.quantities import Work

SIGMOID = Work(transcendentals=1, adds=1, divides=1)
SILU = SIGMOID + Work(multiplies=1)
SOFTPLUS = Work(multiplies=1, transcendentals=2, adds=1, divides=1, compares=1)
_SCAN = "mamba_ssm.ops.selective_scan_interface"
_CHUNKS = "mamba_ssm.ops.triton.ssd_combined"


def _steps(positions: int, softplus: bool, bias: bool) -> Work:
    """The step size of each position: softplus(delta + bias)."""
    return Work(adds=positions * bias) + SOFTPLUS.times(positions * softplus)


def _gate(positions: int) -> Work:
    """y * silu(z)."""
    return (SILU + Work(multiplies=1)).times(positions)


def scan(positions: int, state: int, *, skip: bool, gate: bool, bias: bool, softplus: bool) -> Work:
    """h = exp(delta A) h + delta u B, y = C h, for a state of each position of each channel."""
    n = positions * state
    recurrence = Work(multiplies=n, transcendentals=n) + Work(multiplies=positions + n) + Work(multiplies=n, adds=n)
    total = _steps(positions, softplus, bias) + recurrence + Work(macs=n)
    if skip:  # y + D u
        total += Work(multiplies=positions, adds=positions)
    return total + _gate(positions) if gate else total


def _scanned(args: Arguments) -> Outputs:
    u, a = args["u"], args["A"]
    y = TensorSpec(u.shape, u.dtype)
    return (y, TensorSpec((*u.shape[:2], a.shape[1]), a.dtype)) if args.get("return_last_state") else y


def _complex(call: OpCall) -> str | None:
    if "complex" in call.args["A"].dtype:
        return f"{call.op} has a complex state, whose arithmetic is counted as real"
    return None


@register_function(f"{_SCAN}:SelectiveScanFn", outputs=_scanned, bound_because=_complex)
def _scan_work(call: OpCall) -> Work:
    args = call.args
    return scan(
        args["u"].size, args["A"].shape[1], skip=args.get("D") is not None, gate=args.get("z") is not None,
        bias=args.get("delta_bias") is not None, softplus=bool(args.get("delta_softplus")),
    )  # fmt: skip


def _inner(args: Arguments) -> TensorSpec:
    xz = args["xz"]
    return TensorSpec((xz.shape[0], xz.shape[2], args["out_proj_weight"].shape[0]), xz.dtype)


@register_function(f"{_SCAN}:MambaInnerFn", outputs=_inner, bound_because=_complex)
def _inner_work(call: OpCall) -> Work:
    """Convolution, projections to step size and state, scan and output projection of a Mamba block, as one function."""
    args = call.args
    batch, channels, length = args["xz"].shape[0], args["xz"].shape[1] // 2, args["xz"].shape[2]
    positions, rows = batch * channels * length, batch * length
    projected = rows * (args["x_proj_weight"].size + args["delta_proj_weight"].size + args["out_proj_weight"].size)
    biases = [args.get(name) for name in ("B_proj_bias", "C_proj_bias", "out_proj_bias")]
    return (
        convolution(batch, channels, length, args["conv1d_weight"].shape[-1], bias=args["conv1d_bias"] is not None)
        + SILU.times(positions)
        + Work(macs=projected, adds=rows * sum(b.size for b in biases if b is not None))
        + scan(
            positions, args["A"].shape[-1], skip=args.get("D") is not None, gate=True,
            bias=args.get("delta_bias") is not None, softplus=bool(args.get("delta_softplus")),
        )
    )  # fmt: skip


def _chunk(q: int, heads: int, groups: int, width: int, state: int) -> Work:
    """One chunk of q positions of one sequence."""
    step = Work(multiplies=q, adds=q - 1)  # delta A, and its running sum
    scores = Work(macs=q * q * state).times(groups)  # C B'
    decay = Work(adds=q * q, transcendentals=q * q, multiplies=2 * q * q)  # exp(difference), and the step size
    within = Work(macs=q * q * width)
    into = Work(adds=q, transcendentals=q, multiplies=q + q * state) + Work(macs=width * q * state)
    passed = Work(transcendentals=1, multiplies=width * state, adds=width * state)
    out_of = Work(macs=q * state * width) + Work(transcendentals=q, multiplies=q * width, adds=q * width)
    return scores + (step + decay + within + into + passed + out_of).times(heads)


def chunked_scan(
    batch: int, length: int, heads: int, groups: int, width: int, state: int, chunk: int, *, skip: bool, gate: bool,
    bias: bool, softplus: bool,
) -> Work:  # fmt: skip
    """The recurrence with one decay per head, by matrix products within chunks and a state passed between them."""
    whole, rest = divmod(length, chunk)
    sequence = _chunk(chunk, heads, groups, width, state).times(whole)
    if rest:
        sequence += _chunk(rest, heads, groups, width, state)
    positions = batch * length * heads * width
    total = sequence.times(batch) + _steps(batch * length * heads, softplus, bias)
    if skip:
        total += Work(multiplies=positions, adds=positions)
    return total + _gate(positions) if gate else total


def _chunks_scanned(args: Arguments) -> Outputs:
    x, state = args["x"], args["B"].shape[3]
    y = TensorSpec(x.shape, x.dtype)
    if args.get("return_varlen_states"):
        raise ValueError("mamba_ssm's states of packed sequences are not known to this rule")
    last = TensorSpec((x.shape[0], x.shape[2], x.shape[3], state), "float32")
    return (y, last) if args.get("return_final_states") else y


@register_function(f"{_CHUNKS}:MambaChunkScanCombinedFn", outputs=_chunks_scanned)
def _chunks_work(call: OpCall) -> Work:
    args = call.args
    batch, length, heads, width = args["x"].shape
    return chunked_scan(
        batch, length, heads, args["B"].shape[2], width, args["B"].shape[3], args["chunk_size"],
        skip=args.get("D") is not None, gate=args.get("z") is not None, bias=args.get("dt_bias") is not None,
        softplus=bool(args.get("dt_softplus")),
    )  # fmt: skip


def _split_sizes(args: Arguments) -> tuple[int, int, int, int, int]:
    """Heads, their width, groups, state, and the channels of the gated layer beside the scan."""
    d, groups = args["D"], args["ngroups"]
    heads, width = d.shape if len(d.shape) == 2 else (d.shape[0], args["headdim"])
    state = (args["conv1d_weight"].shape[0] - heads * width) // groups // 2
    beside = (args["zxbcdt"].shape[2] - 2 * heads * width - 2 * groups * state - heads) // 2
    return heads, width, groups, state, beside


def _split_scanned(args: Arguments) -> Outputs:
    x, weight = args["zxbcdt"], args.get("outproj_weight")
    heads, width, _, state, beside = _split_sizes(args)
    y = TensorSpec((*x.shape[:2], heads * width + beside if weight is None else weight.shape[0]), x.dtype)
    last = TensorSpec((x.shape[0], heads, width, state), "float32")
    return (y, last) if args.get("return_final_states") else y


@register_function(f"{_CHUNKS}:MambaSplitConv1dScanCombinedFn", outputs=_split_scanned)
def _split_work(call: OpCall) -> Work:
    """Convolution, scan, gated norm and output projection of a Mamba2 block, as one function."""
    args = call.args
    batch, length, _ = args["zxbcdt"].shape
    heads, width, groups, state, beside = _split_sizes(args)
    rows, channels, convolved = batch * length, heads * width, args["conv1d_weight"].shape[0]
    is_normed, weight = args.get("rmsnorm_weight") is not None, args.get("outproj_weight")
    total = convolution(
        batch, convolved, length, args["conv1d_weight"].shape[-1], bias=args["conv1d_bias"] is not None
    ) + chunked_scan(
        batch, length, heads, groups, width, state, args["chunk_size"], skip=True, gate=not is_normed, bias=True,
        softplus=True,
    )  # fmt: skip
    if args.get("activation") is not None:
        total += SILU.times(rows * convolved)
    if is_normed:  # of each group of channels: x / sqrt(mean(x**2) + eps) * weight, gated
        of_group = channels // groups
        one = Work(multiplies=3 * of_group, adds=of_group, divides=1, transcendentals=1)
        total += one.times(rows * groups) + _gate(rows * channels)
    total += _gate(rows * beside)
    if weight is not None:
        bias = args.get("outproj_bias")
        total += Work(macs=rows * weight.size, adds=rows * bias.size if bias is not None else 0)
    return total
