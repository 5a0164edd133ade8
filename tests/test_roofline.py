"""Rooflines against sums by hand, and devices against what makes one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import costmodel
from costmodel.calibrate import calibrate
from costmodel.devices import Device, device, device_names
from costmodel.errors import InputError
from costmodel.roofline import Roofline, roofline

SLOW = Device("slow", "A device", {"float32": 1000.0, "float16": 4000.0}, 100.0, {})
FAST = Device("fast memory", "A device", {"float32": 1000.0, "float16": 3000.0}, 7e4, {})


def on(model: nn.Module, shape: object, where: Device = SLOW) -> Roofline:
    """A model's bound on a device that is not in the list."""
    p = costmodel.profile(model, shape)
    return roofline(p.pricing, p.fusion, where)


def test_each_layer_takes_the_longer_of_compute_and_memory() -> None:
    """time = max(FLOPs / peak, bytes / bandwidth), alone and fused; the total is their sum."""
    result = on(nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU()), (1, 2, 5, 5))
    conv, relu = result.layers
    flops, nbytes = 2 * 4 * 9 * 18, 4 * (50 + 72 + 36)
    assert (conv.flops, conv.nbytes) == (flops, nbytes)
    assert (conv.time, conv.bound) == (max(flops / 1000, nbytes / 100), "memory")
    assert relu.time == 4 * 72 / 100
    assert result.time == conv.time + relu.time
    # Fused, the kernel reads x and w in the convolution and writes y in the ReLU: 4 * 36 bytes are the ReLU's part.
    assert (conv.fused_time, relu.fused_time) == (4 * (50 + 72) / 100, 4 * 36 / 100)
    assert result.fused_time == max((flops + 36) / 1000, nbytes / 100)


def test_a_fused_kernel_that_waits_for_arithmetic_is_shared_out_by_it() -> None:
    """Each op's part is its own FLOPs over the peak, and the parts add up to the kernel's time."""
    where = Device("narrow", "A device", {"float32": 1000.0}, 1e6, {})
    conv, relu = on(nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU()), (1, 2, 5, 5), where).layers
    assert (conv.fused_time, relu.fused_time) == (2 * 4 * 9 * 18 / 1000, 36 / 1000)


class Parts(nn.Module):
    """One layer of so many FLOPs in float16 and so many in float32."""

    def __init__(self, half: int, single: int) -> None:
        super().__init__()
        self.half_flops, self.single_flops = half, single

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[: self.half_flops].half().relu(), x[: self.single_flops].relu()


@pytest.mark.parametrize(("half", "single", "dtype"), [
    (1, 0, "float16"), (4, 3, "float16"), (3, 3, "float32"), (3, 4, "float32"), (0, 1, "float32"), (0, 0, "float32"),
])  # fmt: skip
def test_the_roof_is_that_of_the_dtype_that_most_of_the_arithmetic_is_in(half: int, single: int, dtype: str) -> None:
    """To the FLOP, of a layer and of the model; float32's where they are even, or there is none."""
    result = on(Parts(half, single), (8,))
    assert (result.dtype, result.peak) == (dtype, SLOW.peak[dtype])
    (layer,) = result.layers
    assert (layer.flops, layer.peak) == (half + single, dtype)


STEPS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "pointwise": lambda x, y, i: F.conv2d(x, torch.ones(4, 4, 1, 1)),
    "depthwise": lambda x, y, i: F.conv2d(x, torch.ones(4, 1, 3, 3), padding=1, groups=4),
    "relu": lambda x, y, i: x.relu(),
    "in place": lambda x, y, i: x.clone().relu_(),
    "part in place": lambda x, y, i: (z := x.clone(), z[:, : 1 + i % 3].sigmoid_())[0],
    "add": lambda x, y, i: x + y,
    "add to itself": lambda x, y, i: x + x,
    "gate": lambda x, y, i: x * y.mean((2, 3), keepdim=True).sigmoid(),
    "broadcast": lambda x, y, i: x - y[:, :1, :1],
    "norm": lambda x, y, i: F.batch_norm(x, torch.zeros(4), torch.ones(4)),
    "norm in training": lambda x, y, i: F.batch_norm(x, None, None, training=True),
    "softmax": lambda x, y, i: x.softmax(1),
    "parts": lambda x, y, i: torch.cat([part.tanh() for part in x.chunk(2, 1)], 1),
    "cat": lambda x, y, i: torch.cat([x, y], 1)[:, i % 4 : i % 4 + 4],
    "transposed": lambda x, y, i: x.transpose(2, 3).contiguous(),
    "half": lambda x, y, i: x.half().exp().float(),
    "where": lambda x, y, i: torch.where(x > 0, x, y),
    "copied": lambda x, y, i: x.clone().copy_(y),
    "pool": lambda x, y, i: F.max_pool2d(x, 3, 1, 1),
    "matmul": lambda x, y, i: x @ y,
}
"""What a random network is made of: each step takes two maps of 1x4x6x6 that were made before, and makes one."""


class Drawn(nn.Module):
    """A network of drawn steps, each on two maps that were made before; several of the maps may be returned."""

    def __init__(self, steps: Sequence[tuple[str, int, int]], returned: int) -> None:
        super().__init__()
        self.steps, self.returned = steps, returned

    def forward(self, x: Tensor) -> list[Tensor]:
        made = [x]
        for i, (name, first, second) in enumerate(self.steps):
            made.append(STEPS[name](made[first % len(made)], made[second % len(made)], i))
        return made[-self.returned :]


def assert_fused_below_unfused(p: costmodel.Profile) -> None:
    """No op, layer, kernel or model needs more, or less than nothing, when ops are fused."""
    for part, op in zip(p.fusion.op_traffic, p.pricing.ops, strict=True):
        for field in ("read", "written", "read_bytes", "written_bytes"):
            assert 0 <= getattr(part, field) <= getattr(op.traffic, field), op.call.op
    for where in (SLOW, FAST, device("a100")):
        result = roofline(p.pricing, p.fusion, where)
        for layer in result.layers:
            assert 0 <= layer.fused_time <= layer.time, layer
        assert result.fused_time <= result.time
        rates = {op.dtype: where.rate(op.dtype) for op in p.pricing.ops}
        kernels = (
            max(sum(op.work.flops / rates[op.dtype] for op in k.ops), k.traffic.bytes / where.bandwidth)
            for k in p.fusion.kernels
        )
        assert result.fused_time == pytest.approx(sum(kernels), rel=1e-12)


@given(
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 30), st.integers(0, 30)), max_size=14),
    returned=st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_the_fused_bound_is_never_above_the_unfused_one(steps: list[tuple[str, int, int]], returned: int) -> None:
    """In random networks: of any layer, of the model, for devices that wait for arithmetic and for memory."""
    assert_fused_below_unfused(costmodel.profile(Drawn(steps, returned), (1, 4, 6, 6)))


@pytest.mark.parametrize("name", costmodel.models.list_models())
def test_the_fused_bound_is_never_above_the_unfused_one_in_the_zoo(name: str) -> None:
    """Of any layer: in a ResNet a shortcut's layers once bore the time of the whole kernel that they began."""
    assert_fused_below_unfused(costmodel.profile(name))


def test_a_layer_above_the_ridge_is_bound_by_compute() -> None:
    """Above peak / bandwidth FLOPs a byte the roof is flat."""
    (layer,) = on(nn.Linear(200, 200, bias=False), (200, 200)).layers
    assert layer.intensity == 2 * 200**3 / (4 * 3 * 200**2) > SLOW.ridge() == 10
    assert (layer.bound, layer.attainable, layer.time) == ("compute", 1000.0, 2 * 200**3 / 1000)
    (layer,) = on(nn.Linear(200, 200, bias=False), (1, 200)).layers
    assert layer.bound == "memory"
    assert layer.attainable == layer.intensity * 100


def test_a_view_takes_no_time() -> None:
    """It computes nothing and moves nothing, so its intensity is 0."""
    (layer,) = on(nn.Flatten(), (1, 2, 4, 4)).layers
    assert (layer.flops, layer.nbytes, layer.time, layer.fused_time) == (0, 0, 0, 0)
    assert (layer.intensity, layer.attainable, layer.bound) == (0, 0, "memory")


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_the_rate_of_complex_numbers_is_that_of_their_parts() -> None:
    """Operations are counted on real numbers, so a product of complex128 runs at the rate of float64."""
    where = Device("slow", "A device", {"float32": 1000.0, "float64": 500.0}, 100.0, {})
    for dtype, parts, rate in ((torch.complex64, "float32", 1000), (torch.complex128, "float64", 500)):
        found = on(nn.Linear(8, 8, dtype=dtype), costmodel.Input((4, 8), dtype), where)
        assert (found.dtype, found.peak) == (parts, rate)


def test_the_rate_is_that_of_the_dtype() -> None:
    """Half precision has its own peak and half the bytes."""
    full = on(nn.Linear(200, 200, bias=False), (200, 200))
    half = on(nn.Linear(200, 200, bias=False).half(), costmodel.Input((200, 200), torch.float16))
    assert (full.dtype, half.dtype) == ("float32", "float16")
    assert half.layers[0].time == full.layers[0].time / 4
    assert (half.peak, half.ridge) == (4000, 40)


def test_float32_has_its_own_peak_and_tf32_is_a_choice() -> None:
    """The A100's datasheet: FP32 19.5 TFLOP/s, TF32 156. Only products are rounded to TF32, never elementwise ops."""
    a100 = device("a100")
    assert (a100.rate("float32"), a100.rate("float32", "tf32")) == (19.5e12, 156e12)
    assert a100.rate("bfloat16", "tf32") == 312e12
    assert SLOW.rate("bfloat16") == SLOW.rate("float32") == 1000
    assert SLOW.peak_of("bfloat16") == "float32"
    p = costmodel.profile(nn.Sequential(nn.Linear(4096, 4096, bias=False), nn.GELU()), (4096, 4096))
    plain, rounded = p.roofline("a100"), p.roofline("a100", math="tf32")
    assert (plain.peak, plain.peak_name, plain.layers[0].time) == (19.5e12, "float32", 2 * 4096**3 / 19.5e12)
    assert (rounded.peak, rounded.peak_name, rounded.layers[0].time) == (156e12, "tf32", 2 * 4096**3 / 156e12)
    assert [layer.peak for layer in rounded.layers] == ["tf32", "float32"]
    assert rounded.rows["peak"].tolist() == ["tf32", "float32"]
    assert rounded.ridge == 156e12 / a100.bandwidth
    half = costmodel.profile(nn.Linear(8, 8).half(), costmodel.Input((1, 8), torch.float16))
    assert half.roofline("a100", "tf32").time == half.roofline("a100").time


def test_a_bound_says_which_peaks_it_is_made_of(tmp_path: Path) -> None:
    """Each with its source, in the text, the Markdown and the page; and that TF32 would be faster."""
    p = costmodel.profile(nn.Conv2d(3, 8, 3), (1, 3, 16, 16))
    for text in (str(p.roofline("a100")), p.roofline("a100").to_markdown()):
        assert "float32 at 19.5 TFLOP/s: NVIDIA A100 Tensor Core GPU datasheet" in text
        assert "memory at 2.04 TB/s: NVIDIA A100" in text
        assert "products in TF32 (156 TFLOP/s)" in text
    rounded = p.roofline("a100", math="tf32").to_markdown()
    assert "tf32 at 156 TFLOP/s: NVIDIA A100 Tensor Core GPU datasheet" in rounded
    assert "products in TF32" not in rounded
    assert "NVIDIA A100 SXM4 80 GB, TF32" in p.to_html()
    title = p.plot_roofline("a100", math="tf32").axes[0].get_title("left")
    assert "tf32 at 156 TFLOP/s" in title


def test_tf32_is_refused_where_there_is_none() -> None:
    """By the device's name, with the peaks that it has; another word is refused with the two that there are."""
    p = costmodel.profile(nn.Linear(8, 8), (1, 8))
    with pytest.raises(InputError, match=r"Cortex-A76 core at 2\.6 GHz has no peak of TF32; its peaks are of float32"):
        p.roofline("cortex-a76", math="tf32")
    with pytest.raises(InputError, match="math='bf16': products of float32 are computed in float32 or tf32"):
        p.roofline("a100", math="bf16")


@pytest.mark.parametrize("name", [name for name in device_names() if name != "this-cpu"])
def test_every_figure_of_a_device_has_a_source(name: str) -> None:
    """Peaks and bandwidth are positive, each with the place it is from; half precision is not slower than single."""
    found = device(name)
    said = {what for what in ("memory", "cache", "power") if getattr(found, what)}
    assert found.sources.keys() == {*found.peak, "bandwidth"} | said
    assert all(len(source) > 10 and "the same" not in source for source in found.sources.values())
    assert min(*found.peak.values(), found.bandwidth) > 1e8
    assert found.rate("float16") >= found.rate("float32") >= found.peak.get("float64", 0)
    assert 0 < costmodel.profile("mobilenet_v2").roofline(name).fused_time < 1


def test_a_derived_figure_is_the_product_in_its_source() -> None:
    """Pipes, lanes and clocks multiplied are the peak, bytes and transfers the bandwidth, as rounded in the file."""
    units, checked = {"GHz": 10**9, "MHz": 10**6, "MT/s": 10**6}, 0
    for found in map(device, device_names()[:-1]):
        for what, source in found.sources.items():
            derivation = source.removeprefix("derived: ").split(";")[0].split(" x ")
            factors = [re.match(r"(\d[\d,]*(?:\.\d+)?) ?(GHz|MHz|MT/s)?", factor) for factor in derivation]
            if not source.startswith("derived: ") or len(factors) < 2 or None in factors:
                continue
            product = prod(float(f[1].replace(",", "")) * units.get(f[2], 1) for f in factors if f is not None)
            value = found.bandwidth if what == "bandwidth" else found.peak[what]
            assert value == pytest.approx(product, rel=0.005), (found.name, what)
            checked += 1
    assert checked > 15


def test_without_a_peak_of_float32_the_highest_bounds() -> None:
    """A TPU's peaks are of bfloat16 and int8: a time made from the higher one is still a lower bound."""
    tpu = device("tpu-v5e")
    assert (tpu.peak_of("bfloat16"), tpu.peak_of("float32"), tpu.peak_of("int64")) == ("bfloat16", "int8", "int8")
    p = costmodel.profile(nn.Linear(64, 64), (8, 64))
    assert p.roofline("tpu-v5e").layers[0].time == max(p.flops / 393e12, p.memory_access_bytes / (800 * 2**30))


MINE = """
[mine]
title = "A chip of ours"
peak.float32.value = 1e12
peak.float32.source = "measured by hand"
bandwidth.value = 1e11
bandwidth.source = "measured by hand"
"""


def test_a_device_of_one_s_own(tmp_path: Path) -> None:
    """In a TOML file: the only one in it, or one by name."""
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(MINE)
    two.write_text(MINE + MINE.replace("mine", "other").replace("1e12", "2e12"))
    assert device(str(one)).rate("float32") == 1e12
    assert device(f"{two}:other").rate("float32") == 2e12
    assert costmodel.profile("mobilenet_v2").roofline(str(one)).time > 0


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (None, "mine.toml", "cannot be read: No such file"),
        ("[mine", "mine.toml", "is no TOML file"),
        ("[mine]\ntitle = 'x'", "mine.toml", "KeyError: 'peak'.*a table .NAME. with title"),
        (MINE.replace("1e11", "0"), "mine.toml", "a peak and a bandwidth are positive numbers"),
        (MINE.replace("1e12", "'fast'"), "mine.toml", "ValueError"),
        ("title = 'x'", "mine.toml", "no file of devices .*a table .NAME. with title"),
        (MINE, "mine.toml:other", "has the devices mine: name one, as .*mine.toml:mine"),
        ("", "mine.toml", "mine.toml has no device; it takes a table"),
    ],
)
def test_a_file_that_is_no_device(tmp_path: Path, text: str | None, name: str, says: str) -> None:
    """Each error names the file, and what is wrong with it."""
    if text is not None:
        (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match=says):
        device(str(tmp_path / name))


def test_a_device_has_the_memory_that_its_title_or_maker_says() -> None:
    """The sizes of makers' data sheets; a core that shares a phone's memory has none of its own."""
    sizes = {name: device(name).memory for name in ("h100", "a100", "rtx4090", "jetson-agx-orin", "cortex-a76")}
    gigabyte = 10**9
    assert list(sizes.values()) == [80 * gigabyte, 80 * gigabyte, 24 * gigabyte, 64 * gigabyte, None]


def test_faster_devices_have_lower_bounds() -> None:
    """Over the list, from a phone's core to a data centre's GPU."""
    p = costmodel.profile("mobilenet_v2")
    order = ["b200", "h200", "h100", "a100", "rtx5090", "rtx4090", "l40s", "jetson-agx-orin", "jetson-orin-nano"]
    order += ["cortex-x4", "raspberry-pi-5", "cortex-a76", "stm32h743"]
    times = [p.roofline(name).time for name in order]
    assert times == sorted(times)


def test_a_name_that_is_not_listed() -> None:
    """The error lists the names, first the one that may be meant; letters of another case are no other name's."""
    for written, meant in (("B200", "b200"), ("RTX4090", "rtx4090"), ("jetson-orin-nan", "jetson-orin-nano")):
        with pytest.raises(InputError, match=f"no device is called '{written}', did you mean '{meant}'; there are"):
            device(written)
    with pytest.raises(InputError, match="no device is called 'xyz'; there are b200, h200, mi300x, h100, a100"):
        costmodel.profile("resnet18").roofline("xyz")
    for nonsense in ([], {}, None, torch.ones(2)):
        with pytest.raises(InputError, match="no device is called"):
            device(nonsense)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="are computed in float32 or tf32"):
            costmodel.profile(nn.ReLU(), (1, 2)).roofline("a100", nonsense)  # type: ignore[arg-type]


def test_this_cpu_must_be_measured_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a measurement the error says how to make one; with one, the device is there, with its sources."""
    monkeypatch.setenv("COSTMODEL_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="costmodel calibrate"):
        device("this-cpu")
    for clock in (None, lambda: 1.0, lambda: float("nan")):
        with pytest.raises(InputError, match="give a function that reads seconds"):
            calibrate(clock=clock)  # type: ignore[arg-type]  # which is what is refused
    measured = calibrate(repeats=1)
    assert device("this-cpu") == measured
    assert measured.peak["float32"] > 1e8
    assert measured.bandwidth > 1e8
    assert "threads" in measured.sources["float32"]
    (tmp_path / "this-cpu.toml").write_text("[this-cpu]\n")
    with pytest.raises(InputError, match="run `costmodel calibrate` again"):
        device("this-cpu")


def test_a_dtype_that_a_cpu_is_slow_in_is_tried_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision without instructions for it takes minutes at full size: a small product tells, and it is left."""
    run: list[tuple[torch.dtype, int]] = []

    def rate(dtype: torch.dtype, size: int, repeats: int, clock: object) -> float:
        run.append((dtype, size))
        return {torch.float32: 2e9, torch.bfloat16: 3e9, torch.float16: 1e9}[dtype]

    monkeypatch.setattr("costmodel.calibrate._product_rate", rate)
    monkeypatch.setattr("costmodel.calibrate._COPY_BYTES", 1 << 20)
    found = calibrate(tmp_path / "this-cpu.toml", repeats=1)
    assert found.peak == {"float32": 2e9, "bfloat16": 3e9}
    sizes = {dtype: [size for d, size in run if d is dtype] for dtype in (torch.bfloat16, torch.float16)}
    assert max(sizes[torch.bfloat16]) > 5 * max(sizes[torch.float16])


def test_the_text_says_that_it_is_a_lower_bound() -> None:
    """The heading, the total and the columns say "at least"."""
    result = costmodel.profile("resnet18").roofline("a100")
    text = result.to_markdown(4)
    assert "a lower bound" in text.splitlines()[0]
    assert text.count("at least") == 2
    assert "At least" in text
    assert len(result.rows) == len(result.layers)
    assert result.rows.time.sum() == pytest.approx(result.time)
