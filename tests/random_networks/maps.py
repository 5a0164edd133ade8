"""Steps on maps, (batch, channels, *size) of one to three axes: source that rebinds ``x``."""

from __future__ import annotations

from tests.random_networks.draft import Draft, Maker


def conv(d: Draft) -> str | None:
    """A convolution: any kernel, stride, padding, dilation and groups; sometimes one channel; sometimes in a block."""
    if d.axes not in (1, 2, 3) or not d.channels:
        return None
    c, r = d.channels, d.rng
    groups = r.choice([g for g in (1, 1, 2, c) if g and c % g == 0])
    out = groups * r.choice([1, 1, 2, 3])
    kernel = r.choice([1, 1, 2, 3])
    more = [f"bias={r.random() < 0.6}", f"groups={groups}"]
    padding = r.choice(["0", "1", "2", "'same'"])
    if padding != "'same'":
        more.append(f"stride={r.choice([1, 1, 2])}")
    more += [f"padding={padding}", f"dilation={r.choice([1, 1, 2])}"]
    if r.random() < 0.15:
        more.append(f"padding_mode={r.choice(['circular', 'reflect', 'replicate'])!r}")
    layer = f"nn.Conv{d.axes}d({c}, {out}, {kernel}, {', '.join(more)})"
    if r.random() < 0.3:
        act = d.one_of("nn.ReLU()", "nn.ReLU(inplace=True)", "nn.SiLU()", "nn.PReLU()", "nn.Hardswish()")
        layer = f"nn.Sequential({layer}, nn.BatchNorm{d.axes}d({out}), {act})"
    return f"x = {d.module(layer)}(x)"


def conv_transpose(d: Draft) -> str | None:
    """A transposed convolution."""
    if d.axes not in (1, 2, 3) or not d.channels:
        return None
    groups = d.rng.choice([g for g in (1, 1, d.channels) if g])
    out, kernel, stride = groups * d.rng.choice([1, 2]), d.rng.choice([1, 2, 3]), d.rng.choice([1, 2])
    padding = d.rng.choice([0, 1])
    sizes = f"stride={stride}, padding={padding}, groups={groups}, bias={d.rng.random() < 0.6}"
    layer = f"nn.ConvTranspose{d.axes}d({d.channels}, {out}, {kernel}, {sizes})"
    return f"x = {d.module(layer)}(x)"


def norm(d: Draft) -> str | None:
    """A normalisation of maps."""
    if d.axes not in (1, 2, 3) or not d.channels:
        return None
    c, n = d.channels, d.axes
    group = d.rng.choice([g for g in (1, 2, c) if g and c % g == 0])
    layer = d.one_of(
        f'nn.BatchNorm{n}d({c})', f'nn.BatchNorm{n}d({c}, affine=False)',
        f'nn.BatchNorm{n}d({c}, track_running_stats=False)', f'nn.InstanceNorm{n}d({c})',
        f'nn.InstanceNorm{n}d({c}, affine=True, track_running_stats=True)',
        f'nn.GroupNorm({group}, {c})', f'nn.GroupNorm({group}, {c}, affine=False)',
        f'nn.LocalResponseNorm({d.rng.choice([2, 3])})', f'nn.LayerNorm({list(d.x.shape[1:])})',
        f'nn.LayerNorm({d.x.shape[-1]})',
    )  # fmt: skip
    return f"x = {d.module(layer)}(x)"


def pool(d: Draft) -> str | None:
    """A pooling layer."""
    n, r = d.axes, d.rng
    if n not in (1, 2, 3):
        return None
    kernel, stride, padding, ceil = r.choice([2, 3]), r.choice([1, 2]), r.choice([0, 1]), r.random() < 0.3
    window = f"{kernel}, stride={stride}, padding={padding}, ceil_mode={ceil}"
    if r.random() < 0.1:
        return f"x, i = F.max_pool{n}d(x, {window}, return_indices=True)"
    if r.random() < 0.1:
        return f"x, i = F.max_pool{n}d(x, 2, return_indices=True)\nx = F.max_unpool{n}d(x, i, 2)"
    layer = d.one_of(
        f'nn.MaxPool{n}d({window})', f'nn.AvgPool{n}d({window})',
        f'nn.AvgPool{n}d({window}, count_include_pad=False)', f'nn.LPPool{n}d(2, {kernel}, stride={stride})',
        f'nn.AdaptiveAvgPool{n}d({r.choice([1, 2, 3])})', f'nn.AdaptiveMaxPool{n}d({r.choice([1, 2, 3])})',
        f'nn.MaxPool{n}d(2, dilation=2)',
    )  # fmt: skip
    return f"x = {d.module(layer)}(x)"


def resample(d: Draft) -> str | None:
    """Nearest, linear, area and cubic interpolation, and pixels shuffled into channels."""
    n = d.axes
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}.get(n)
    if linear is None:
        return None
    to = d.one_of("scale_factor=2", f"size={[3] * n}", "scale_factor=1.5", "scale_factor=0.5")
    choices = [
        f"x = F.interpolate(x, {to})", f"x = F.interpolate(x, {to}, mode='nearest-exact')",
        f"x = F.interpolate(x, {to}, mode={linear!r}, align_corners={d.rng.random() < 0.4})",
        f"x = F.interpolate(x, {to}, mode='area')",
    ]  # fmt: skip
    if n == 2:
        choices += [
            f"x = F.interpolate(x, {to}, mode='bicubic')",
            f"x = F.interpolate(x, {to}, mode='bilinear', antialias=True)",
            "x = F.pixel_shuffle(x, 2)", "x = F.pixel_unshuffle(x, 2)", "x = F.unfold(x, 2, padding=1)",
            f"x = F.fold(F.unfold(x, 2, padding=1), {list(d.x.shape[-2:])}, 2, padding=1)",
            "x = F.grid_sample(x, x.new_zeros(x.shape[0], 3, 4, 2), align_corners=False)",
        ]  # fmt: skip
    return d.rng.choice(choices)


def pad(d: Draft) -> str:
    """Padding by constants, reflections, copies and the other side; cropping by negative padding."""
    mode = d.one_of("'constant'", "'constant', 1.5", "'reflect'", "'replicate'", "'circular'")
    least = -1 if "constant" in mode else 0
    sizes = [d.rng.randint(least, 2) for _ in range(2 * d.rng.randint(1, max(1, d.axes)))]
    return f"x = F.pad(x, {sizes}, {mode})"


def squeeze_excite(d: Draft) -> str | None:
    """A gate from the mean of each channel."""
    if d.axes != 2:
        return None
    layers = f"nn.Conv2d({d.channels}, 2, 1)", f"nn.Conv2d(2, {d.channels}, 1)"
    first, second = map(d.module, layers)
    gate = d.one_of(f"torch.sigmoid({second}(g))", f"F.hardsigmoid({second}(g))", f"{second}(g).sigmoid_()")
    return f"g = F.relu({first}(F.adaptive_avg_pool2d(x, 1)))\nx = x * {gate}"


def channel_shuffle(d: Draft) -> str | None:
    """ShuffleNet's: groups of channels, transposed."""
    if d.axes != 2 or d.channels % 2:
        return None
    return d.one_of(
        "n, c, h, w = x.shape\nx = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)",
        "x = F.channel_shuffle(x, 2)",
    )


def split(d: Draft) -> str | None:
    """One half of the channels goes through a layer, or both through different ones."""
    if d.axes not in (1, 2, 3) or d.channels < 2:
        return None
    half = d.channels // 2
    m = d.module(f"nn.Conv{d.axes}d({d.channels - half}, {half or 1}, 1)")
    return d.one_of(
        f"p, q = x[:, :{half}], x[:, {half}:]\nx = torch.cat([p, {m}(q)], 1)",
        f"p, q = torch.split(x, [{half}, {d.channels - half}], 1)\nx = torch.cat([{m}(q), F.relu(p)], 1)",
        f"p, q = x.tensor_split([{half}], 1)\nx = torch.cat([q, {m}(q).relu_()], 1)",
    )


def concatenate_with_layer(d: Draft) -> str | None:
    """A dense connection: a layer's result beside its input."""
    if d.axes not in (1, 2, 3) or not d.channels:
        return None
    m = d.module(f"nn.Conv{d.axes}d({d.channels}, {d.rng.choice([1, 1, 2])}, {d.rng.choice(['1', '3, padding=1'])})")
    return f"x = torch.cat([x, {m}(x)], 1)"


def to_layout(d: Draft) -> str | None:
    """A copy into another memory format, where it is another."""
    if d.axes not in (2, 3):
        return None
    last = "torch.channels_last" if d.axes == 2 else "torch.channels_last_3d"
    return d.one_of(f"x = x.contiguous(memory_format={last})", f"x = x.to(memory_format={last})", "x = x.contiguous()")


def to_tokens(d: Draft) -> str | None:
    """Positions as tokens, through a layer, and sometimes back."""
    if d.axes not in (1, 2) or not d.channels:
        return None
    m = d.module(d.one_of(f"nn.Linear({d.channels}, 4)", f"nn.LayerNorm({d.channels})"))
    back = d.one_of("", f"\nx = x.transpose(1, 2).unflatten(2, {list(d.x.shape[2:])})")
    return f"x = {m}(x.flatten(2).transpose(1, 2)){back}"


def separable(d: Draft) -> str | None:
    """An inverted bottleneck: expand, depthwise, project, add."""
    if d.axes != 2:
        return None
    c, wide = d.channels, 2 * d.channels
    m = d.module(
        f"nn.Sequential(nn.Conv2d({c}, {wide}, 1, bias=False), nn.BatchNorm2d({wide}), nn.ReLU6(inplace=True), "
        f"nn.Conv2d({wide}, {wide}, 3, padding=1, groups={wide}, bias=False), nn.BatchNorm2d({wide}), nn.ReLU6(), "
        f"nn.Conv2d({wide}, {c}, 1, bias=False), nn.BatchNorm2d({c}))"
    )
    return d.one_of(f"x = x + {m}(x)", f"y = {m}(x)\ny += x\nx = y", f"x = {m}(x).add_(x, alpha=0.5)")


MAPS: list[Maker] = [
    conv, conv, conv, conv_transpose, norm, norm, pool, pool, resample, pad, squeeze_excite, channel_shuffle, split,
    concatenate_with_layer, concatenate_with_layer, to_layout, to_layout, to_tokens, separable,
]  # fmt: skip
