"""Traffic alone and fused against sums by hand and closed forms; live memory against the allocator's own events."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import costmodel
from costmodel.formulas.memory import pointwise_memory_access, pointwise_memory_access_bound
from tests.live_memory import measured_peak

# (input, what is not 128 x 128): networks of every family, each against the allocator.
NETWORKS = {
    **dict.fromkeys(
        (
            "resnet18", "resnet50", "resnext50_32x4d", "se_resnet50", "inception_v3", "inception_v4", "xception",
            "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "shufflenet_v1",
            "shufflenet_v2", "efficientnet_b0", "efficientnet_b3", "efficientnet_v2_s", "ghostnet",
        ),
        (1, 3, 128, 128),
    ),
    **dict.fromkeys(("alexnet", "vgg11", "vgg16"), (1, 3, 224, 224)),
    "mobilenet_v1_cifar": (2, 3, 32, 32),
    "hybridsn": None,
}  # fmt: skip


class Function(nn.Module):
    """A function as a model."""

    def __init__(self, function: object, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *args: Tensor) -> object:
        return self.function(self, *args)  # type: ignore[operator]  # a plain attribute


def kernels(model: nn.Module, shape: object, **options: object) -> list[list[str]]:
    """The ops of each kernel by their short names."""
    p = costmodel.profile(model, shape, **options)  # type: ignore[arg-type]  # the tests' own shapes
    return [[op.call.op.split(".")[1] for op in kernel.ops] for kernel in p.fusion.kernels]


# Fusion ----------------------------------------------------------------------------------------------------------


def test_convolution_norm_and_activation_are_one_kernel() -> None:
    """A fused kernel reads input and parameters once, and writes its last result only."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False))
    p = costmodel.profile(model, (1, 3, 4, 4))
    assert kernels(model, (1, 3, 4, 4)) == [["convolution", "native_batch_norm", "relu"], ["convolution"]]
    first = (3 * 16 + 3 * 8) + 4 * 8 + 8 * 16  # x and w; the norm's four vectors; y
    second = 8 * 16 + 8 * 4 + 4 * 16
    assert p.fused_memory_access == first + second
    assert p.fused_memory_access_bytes == 4 * (first + second)
    assert p.memory_access == first + second + 4 * 8 * 16  # the norm's and the activation's reading and writing


def test_a_result_that_is_read_elsewhere_is_written() -> None:
    """A kernel writes every value that another kernel, or the caller, needs."""

    def forward(model: Function, x: Tensor) -> Tensor:
        y = model.first(x)
        return y.relu() + model.second(y)

    model = Function(forward, first=nn.Conv2d(2, 2, 1, bias=False), second=nn.Conv2d(2, 2, 1, bias=False))
    p = costmodel.profile(model, (1, 2, 3, 3))
    assert kernels(model, (1, 2, 3, 3)) == [["convolution", "relu"], ["convolution", "add"]]
    # x w y relu(y); y w relu(y) sum
    assert p.fused_memory_access == (18 + 4 + 18 + 18) + (18 + 4 + 18 + 18)


def test_a_gate_does_not_join() -> None:
    """A squeeze-excitation's multiplication is a kernel of its own: the gate comes of the whole map that it scales."""
    model = Function(lambda m, x: (y := m.conv(x)) * y.mean((2, 3), keepdim=True).sigmoid(), conv=nn.Conv2d(2, 2, 1))
    assert kernels(model, (1, 2, 3, 3)) == [["convolution"], ["mean", "sigmoid"], ["mul"]]


def test_a_norm_joins_at_inference_only() -> None:
    """In training a batch norm needs the mean of the whole channel first."""
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False, affine=False))
    assert kernels(model, (1, 2, 3, 3), mode="train") == [["convolution"], ["native_batch_norm"]]
    model = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU())
    assert kernels(model, (1, 2, 3, 3)) == [["convolution", "native_batch_norm", "relu"]]
    # The counter of batches moves on, by a kernel of its own; what follows the norm still joins it.
    trained = costmodel.profile(model, (1, 2, 3, 3), mode="train")
    assert kernels(model, (1, 2, 3, 3), mode="train") == [["convolution"], ["add_"], ["native_batch_norm", "relu"]]
    norm = 18 + 2 * 2 + 2 * 2 * 2 + 2 * 2 + 18  # x, weight and bias, both statistics in and out, saved ones; y
    assert trained.fused_memory_access == (18 + 4 + 18) + 2 + norm


def test_writing_a_part_keeps_the_rest() -> None:
    """An in-place op on half of a tensor leaves the other half to be read: the first kernel writes it whole."""

    def forward(model: Function, x: Tensor) -> Tensor:
        y = model.first(x)
        y[:, :1].relu_()
        return model.second(y)

    model = Function(forward, first=nn.Conv2d(2, 2, 1, bias=False), second=nn.Conv2d(2, 2, 1, bias=False))
    p = costmodel.profile(model, (1, 2, 3, 3))
    # x w y, and the half that the activation writes again; y w z
    assert kernels(model, (1, 2, 3, 3)) == [["convolution", "relu_"], ["convolution"]]
    assert p.fused_memory_access == (18 + 4 + 18 + 9) + (18 + 4 + 18)


def test_a_batch_of_none_moves_the_weights() -> None:
    """With no samples a layer has a row of memory access all the same, and the page is written."""
    p = costmodel.profile(nn.Sequential(nn.Conv2d(3, 4, 1)), (0, 3, 8, 8))
    assert p.memory["memory_access"].tolist() == [3 * 4 + 4]
    assert "<html" in p.to_html()


def test_kernels_never_move_more_than_their_ops() -> None:
    """Over the zoo fusing saves, each op's part is not negative, and kernels and ops sum to the same total."""
    for name in ("resnet18", "mobilenet_v3_small", "shufflenet_v2", "googlenet", "ghostnet"):
        p = costmodel.profile(costmodel.models.build(name))
        assert 0 < p.fused_memory_access < p.memory_access
        assert sum(t.elements for t in p.fusion.op_traffic) == p.fused_memory_access
        assert all(min(t.read, t.written, t.read_bytes, t.written_bytes) >= 0 for t in p.fusion.op_traffic)
        assert sum(k.unfused.elements for k in p.fusion.kernels) == p.memory_access


# Layers: closed form, bound, bytes, intensity ------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3]))
def test_the_closed_form_of_a_pointwise_convolution_is_what_is_traced(c1: int, c2: int, h: int, w: int, g: int) -> None:
    """h·w·(c1 + c2) + c1·c2/g, to the integer, grouped or not."""
    model = nn.Conv2d(c1 * g, c2 * g, 1, groups=g, bias=False)
    closed = pointwise_memory_access(c_in=c1 * g, c_out=c2 * g, size=(h, w), groups=g)
    assert costmodel.profile(model, (1, c1 * g, h, w)).memory_access == closed


@pytest.mark.parametrize(("c_in", "c_out", "batch"), [(128, 128, 1), (52, 312, 1), (36, 432, 3)])
def test_the_bound_of_a_pointwise_convolution(c_in: int, c_out: int, batch: int) -> None:
    """A layer's ratio is its memory access over ShuffleNetV2's bound at the same multiply-accumulates; 1 if c1 = c2."""
    row = costmodel.profile(nn.Conv2d(c_in, c_out, 1, bias=False), (batch, c_in, 28, 28)).memory.iloc[0]
    area = batch * 28 * 28
    bound = pointwise_memory_access_bound(macs=area * c_in * c_out, size=(area,))
    assert row.memory_access_ratio == pytest.approx((area * (c_in + c_out) + c_in * c_out) / bound, rel=1e-12)
    assert (row.memory_access_ratio == 1) == (c_in == c_out)


def test_the_bound_is_for_dense_pointwise_convolutions_only() -> None:
    """A 3x3, a strided and a grouped convolution have no such bound."""
    for conv in (nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 1, stride=2), nn.Conv2d(4, 8, 1, groups=2)):
        assert costmodel.profile(conv, (1, 4, 8, 8)).memory.memory_access_ratio.isna().all()


def test_bytes_are_counted_by_dtype() -> None:
    """A half model moves half the bytes, an int64 index eight each."""
    model, shape = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), (1, 3, 8, 8)
    full = costmodel.profile(model, shape)
    half = costmodel.profile(model.half(), costmodel.Input(shape, torch.float16))
    assert half.memory_access == full.memory_access
    assert (full.memory_access_bytes, half.memory_access_bytes) == (4 * full.memory_access, 2 * full.memory_access)
    assert half.fused_memory_access_bytes == 2 * full.fused_memory_access
    assert half.peak_memory * 2 == full.peak_memory
    lookup = costmodel.profile(nn.Embedding(10, 4), costmodel.Input((3,), torch.int64))
    assert lookup.memory_access_bytes == 3 * 8 + 3 * 4 * 4 + 3 * 4 * 4


def test_intensity() -> None:
    """MACs and FLOPs for each element and byte."""
    row = costmodel.profile(nn.Conv2d(2, 3, 1), (1, 2, 4, 4)).memory.iloc[0]
    elements, macs = 2 * 16 + 6 + 3 + 3 * 16, 16 * 6
    assert (row.macs_per_element, row.macs_per_byte) == (macs / elements, macs / (4 * elements))
    flops = 2 * macs + 48
    assert (row.flops_per_element, row.flops_per_byte) == (flops / elements, flops / (4 * elements))


def test_a_view_has_no_intensity() -> None:
    """Nothing is computed and nothing moved: every ratio is 0."""
    row = costmodel.profile(nn.Flatten(), (1, 2, 4, 4)).memory.iloc[0]
    ratios = (row.macs_per_element, row.macs_per_byte, row.flops_per_element, row.flops_per_byte)
    assert ratios == (0, 0, 0, 0)


# Live memory -----------------------------------------------------------------------------------------------------


def test_aliases_and_in_place_ops_share_their_storage() -> None:
    """Views and in-place ops allocate nothing; a tensor without references is gone before the next op."""

    def forward(model: Function, x: Tensor) -> Tensor:
        y = x + 1  # 400 bytes more
        z = y.view(10, 10).relu_()  # none
        del y
        z = z * 2  # 400 more while it is computed, then z's first storage goes
        return z.sum()

    p = costmodel.profile(Function(forward), (100,))
    assert p.peak.curve[:2] == (800, 800)
    assert p.peak_memory == 1200
    assert p.peak.op == "aten.mul.Tensor"
    assert p.peak.curve[-1] == 400 + 400 + 4


def test_an_input_lives_on_after_its_views() -> None:
    """The caller holds the inputs: they count to the end, also where the model lets go of its views of them."""

    def forward(model: Function, x: Tensor) -> Tensor:
        y = x.view(10, 10)
        z = y * 2
        del y
        return z + 1

    p = costmodel.profile(Function(forward), (100,))
    assert p.peak.curve == (400, 800, 1200)


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_a_constant_counts_from_where_it_is_made(execution: str) -> None:
    """A tensor that torch makes without an op lives from the op that takes it; a module's own from the beginning."""

    def made_late(model: Function, x: Tensor) -> Tensor:
        peak = (x.expand(100, -1) * 2).sum(0)  # 40,000 and 400 bytes; the first of them is gone afterwards
        return peak + torch.from_numpy(np.zeros(100, dtype=np.float32))

    def held(model: Function, x: Tensor) -> Tensor:
        return (x.expand(100, -1) * 2).sum(0) + model.table  # type: ignore[operator]  # a plain attribute

    late = costmodel.profile(Function(made_late), (1, 100), execution=execution)  # type: ignore[arg-type]  # one of two
    assert (late.peak_memory, late.peak.curve[-1]) == (400 + 40_000 + 400, 400 + 400 + 400 + 400)
    model = Function(held)
    model.table = torch.zeros(100)
    early = costmodel.profile(model, (1, 100), execution=execution)  # type: ignore[arg-type]  # one of two words
    assert early.peak_memory == 400 + 400 + 40_000 + 400


def test_the_peak_is_placed_and_broken_down() -> None:
    """The op and the module of the peak, what is live then, and parameters and buffers apart."""
    model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 1))
    peak = costmodel.profile(model, (1, 1, 10, 10)).peak
    assert (peak.op, peak.module, peak.nbytes) == ("aten.native_batch_norm.default", "1", 4 * (100 + 800 + 800))
    assert [a.nbytes for a in peak.live] == [3200, 3200, 400]
    assert {a.made_by for a in peak.live} == {"aten.convolution.default", "aten.native_batch_norm.default", ""}
    assert peak.parameters == 4 * (16 + 16 + 9)
    assert peak.buffers == 4 * 16 + 8
    assert peak.total == peak.nbytes + peak.parameters + peak.buffers
    assert max(peak.curve) == peak.curve[peak.index] == peak.nbytes


@pytest.mark.parametrize("name", NETWORKS)
def test_live_memory_is_what_the_allocator_gives(name: str) -> None:
    """The peak equals that of a real forward on the CPU, to the byte, for every family of networks."""
    model = costmodel.models.build(name).eval()
    shape = NETWORKS[name] or model.example_inputs
    assert costmodel.profile(model, shape).peak_memory == measured_peak(model, [torch.randn(shape)])  # type: ignore[arg-type]


def test_live_memory_of_local_response_norm() -> None:
    """GoogLeNet's agrees but for three Python numbers, which torch's CPU kernels wrap in tensors of 4 bytes."""
    model = costmodel.models.googlenet().eval()
    x = torch.randn(1, 3, 128, 128)
    assert measured_peak(model, [x]) - costmodel.profile(model, x).peak_memory == 3 * 4


@pytest.mark.parametrize("layer", [
    nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.MultiheadAttention(32, 4, batch_first=True),
    nn.InstanceNorm2d(4, affine=True), nn.MaxPool3d(2),
], ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_live_memory_of_layers(layer: nn.Module) -> None:
    """Attention, instance norm and pooling in three dimensions allocate what is said of them."""
    shape = (2, 4, 8, 8, 8) if isinstance(layer, nn.MaxPool3d) else (2, 4, 16, 16)
    inputs = [torch.randn(shape)]
    if isinstance(layer, nn.TransformerEncoderLayer):
        inputs = [torch.randn(2, 9, 32)]
    elif isinstance(layer, nn.MultiheadAttention):
        inputs = [torch.randn(2, 9, 32)] * 3
    torch.backends.mha.set_fastpath_enabled(False)  # as the trace runs it
    try:
        measured = measured_peak(layer.eval(), inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    counted = costmodel.profile(layer, tuple(inputs)).peak_memory
    assert counted == measured


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layer", [
    nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 8, 3, groups=2), nn.Conv2d(16, 8, 3), nn.Conv2d(16, 8, 1),
    nn.ConvTranspose2d(16, 8, 2), nn.AvgPool2d(2), nn.MaxPool2d(2), nn.LayerNorm(8), nn.Linear(8, 8), nn.Softmax(1),
    nn.LogSoftmax(-1), nn.ReLU(),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("tokens", ["channels last", "transposed map"])
def test_copies_into_the_layout_that_a_kernel_wants(layer: nn.Module, batch: int, tokens: str) -> None:
    """Tokens seen as a map, and a map turned on its side, are copied by those kernels that cannot take them so."""
    x = torch.randn(batch, 64, 16) if tokens == "channels last" else torch.randn(batch, 16, 8, 8)

    def forward(model: nn.Module, x: Tensor) -> Tensor:
        y = x.transpose(1, 2).view(batch, 16, 8, 8) if tokens == "channels last" else x.transpose(2, 3)
        return model.layer(y)  # type: ignore[no-any-return, operator]

    model = Function(forward, layer=layer.eval())
    assert costmodel.profile(model, x).peak_memory == measured_peak(model, [x])


def _heads(rows: Tensor, layout: str) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value in dimensions or layouts that no fused kernel takes, out of (2, 3, 16, 24) elements."""
    if layout == "rows":
        q = rows.view(6, 16, 24)
        return q, q, q
    if layout == "columns":
        q = rows.view(2, 3, 24, 16).mT
        return q, q, q
    if layout == "one key head":
        return rows, rows[:, :1], rows[:, :1]
    if layout == "windows":
        q, k, v = rows.view(2, 3, 16, 3, 2, 4).permute(3, 0, 1, 4, 2, 5).unbind()
        return q, k, v
    q = rows.view(2, 3, 4, 4, 24).transpose(2, 3)
    return q, q[..., :2, :], q[..., :2, :1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("layout", ["rows", "columns", "one key head", "windows", "narrow values"])
def test_live_memory_of_attention_without_a_fused_kernel(layout: str, is_causal: bool, dtype: torch.dtype) -> None:
    """Two products and a softmax: scaled factors, their copies where batches cannot be seen as one, scores, casts."""

    def run(rows: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(*_heads(rows, layout), is_causal=is_causal)

    rows = torch.randn(2, 3, 16, 24, dtype=dtype)
    p = costmodel.profile(Function(lambda model, rows: run(rows)), rows)
    assert p.peak_memory == measured_peak(run, [rows])


def test_live_memory_of_grouped_queries() -> None:
    """Heads of keys and values are repeated first, where a dropout rules the fused kernels out."""
    q, k = torch.randn(2, 4, 4, 16), torch.randn(2, 2, 4, 16)

    def run(q: Tensor, k: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(q, k, k, dropout_p=0.5, enable_gqa=True)

    p = costmodel.profile(Function(lambda model, q, k: run(q, k)), (q, k))
    assert p.peak_memory == measured_peak(run, [q, k])


@pytest.mark.parametrize(("layer", "shape"), [
    (nn.RMSNorm(500), (64, 500)), (nn.RMSNorm(500, elementwise_affine=False), (64, 500)),
    (nn.LogSigmoid(), (64, 500)), (nn.RReLU(), (64, 500)), (nn.Dropout(0.3), (64, 500)),
    (nn.Fold((20, 20), (5, 5)), (1, 100, 256)), (nn.GRU(32, 64, 2), (20, 4, 32)), (nn.RNN(32, 64), (20, 4, 32)),
    (nn.LSTM(32, 64, 2, batch_first=True, bidirectional=True, dropout=0.3), (4, 20, 32)),
    (nn.MultiheadAttention(32, 4, dropout=0.3), (50, 2, 32)), (nn.Upsample(scale_factor=2), (2, 8, 16, 16)),
    (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 4, 40, 40)),
    (Function(lambda m, x: x.logsumexp(1)), (64, 500)), (Function(lambda m, x: x.count_nonzero(1)), (64, 500)),
    (Function(lambda m, x: torch.native_dropout(x, 0.3, True)[0]), (64, 500)),
    (Function(lambda m, x: x * (x > 0)), (64, 500)),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "x".join(map(str, value)))  # fmt: skip
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_what_a_layer_allocates_on_the_way(layer: nn.Module, shape: tuple[int, ...], mode: str) -> None:
    """A layer's peak is that of a real run but for Python numbers as tensors, in evaluation and in training."""
    inputs = [torch.randn(shape)] * (3 if isinstance(layer, nn.MultiheadAttention) else 1)
    layer.train(mode == "train")
    told = costmodel.profile(layer, tuple(inputs), mode=mode).peak_memory  # type: ignore[arg-type]  # one of two words
    assert abs(told - measured_peak(layer, inputs[:1] if len(inputs) == 1 else inputs)) <= 24


def test_an_embedding_bag_allocates_its_sizes() -> None:
    """A mean divides by floating sizes of at least 1."""
    layer, rows = nn.EmbeddingBag(100, 64), torch.randint(0, 100, (40, 50))
    told = costmodel.profile(layer, rows).peak_memory
    assert abs(told - measured_peak(layer.eval(), [rows])) <= 24
