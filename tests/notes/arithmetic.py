"""The networks of the papers by plain arithmetic: nothing of the library, no module, no closed form of it."""

from __future__ import annotations

from math import ceil, prod

from torch import Tensor, empty, nn, no_grad


def conv(c_in: int, c_out: int, kernel: int, *, groups: int = 1, bias: bool = False, norm: bool = True) -> int:
    """Parameters of a convolution, and of the batch norm behind it."""
    return kernel * kernel * c_in * c_out // groups + bias * c_out + norm * 2 * c_out


def fc(c_in: int, c_out: int) -> int:
    """Parameters of a fully connected layer."""
    return (c_in + 1) * c_out


VGG16 = [64, 64, 128, 128, 256, 256, 256, *[512] * 6]
VGG16_FC = fc(512 * 7 * 7, 4096) + fc(4096, 4096) + fc(4096, 1000)
VGG16_PARAMS = sum(conv(a, b, 3, bias=True, norm=False) for a, b in zip([3, *VGG16], VGG16, strict=False)) + VGG16_FC

V1_PAIRS = [
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1),
]  # fmt: skip


def v1_params(alpha: float = 1.0) -> int:
    """MobileNetV1 at a width that makes all channels multiples of 8."""
    c = int(32 * alpha)
    total = conv(3, c, 3)
    for out, _ in V1_PAIRS:
        total += conv(c, c, 3, groups=c) + conv(c, int(out * alpha), 1)
        c = int(out * alpha)
    return total + fc(c, 1000)


def v1_macs() -> int:
    """MobileNetV1 at 224."""
    c, size = 32, 112
    total = size**2 * 27 * c
    for out, stride in V1_PAIRS:
        size //= stride
        total += size**2 * (9 * c + c * out)
        c = out
    return total + 1024 * 1000


V2_TABLE = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def v2() -> tuple[int, int]:
    """Parameters and MACs of MobileNetV2 at 224."""
    c, size = 32, 112
    params, macs = conv(3, c, 3), size**2 * 27 * c
    for t, out, n, s in V2_TABLE:
        for i in range(n):
            wide, stride = t * c, s if i == 0 else 1
            if t > 1:
                params, macs = params + conv(c, wide, 1), macs + size**2 * c * wide
            size //= stride
            params += conv(wide, wide, 3, groups=wide) + conv(wide, out, 1)
            macs += size**2 * (9 * wide + wide * out)
            c = out
    return params + conv(320, 1280, 1) + fc(1280, 1000), macs + size**2 * 320 * 1280 + 1280 * 1000


def alexnet_of_2012() -> int:
    """The two towers, of which the second, fourth and fifth convolutions see one half each."""
    return sum((
        conv(3, 96, 11, bias=True, norm=False), conv(96, 256, 5, groups=2, bias=True, norm=False),
        conv(256, 384, 3, bias=True, norm=False), conv(384, 384, 3, groups=2, bias=True, norm=False),
        conv(384, 256, 3, groups=2, bias=True, norm=False), fc(9216, 4096), fc(4096, 4096), fc(4096, 1000),
    ))  # fmt: skip


def shufflenet_v1_shares(g: int = 3) -> float:
    """The share of grouped and depthwise convolutions in the MACs of ShuffleNetV1 1x."""
    c, size = 24, 56
    inside, outside = 0, 112**2 * 27 * 24
    for out, repeats in ((240, 4), (480, 8), (960, 4)):
        for i in range(repeats):
            m, stride = out // 4, 2 if i == 0 else 1
            first = size**2 * c * m
            if c == 24:
                outside += first  # too few channels for groups
            else:
                inside += first // g
            size //= stride
            made = out - c if stride == 2 else out  # the shortcut is concatenated
            inside += size**2 * (9 * m + m * made // g)
            c = out
    return inside / (inside + outside + 960 * 1000)


def rounded(c: float) -> int:
    """To the nearest multiple of 8, not below 90 % of it."""
    near = max(8, int(c + 4) // 8 * 8)
    return near + 8 if near < 0.9 * c else near


B0_TABLE = [
    (1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3), (6, 5, 112, 3), (6, 5, 192, 4), (6, 3, 320, 1),
]  # fmt: skip


def b4_params(fused: int) -> int:
    """EfficientNet-B4 whose first stages have one dense convolution instead of a 1x1 and a depthwise, and no SE."""
    c = rounded(32 * 1.4)
    total = conv(3, c, 3)
    for stage, (t, k, width, depth) in enumerate(B0_TABLE):
        out = rounded(width * 1.4)
        for _ in range(ceil(depth * 1.8)):
            wide, squeezed = t * c, max(1, c // 4)
            if stage < fused:
                total += conv(c, wide, k) + conv(wide, out, 1) if t > 1 else conv(c, out, k)
            else:
                total += conv(c, wide, 1) * (t > 1) + conv(wide, wide, k, groups=wide) + conv(wide, out, 1)
                total += fc(wide, squeezed) + fc(squeezed, wide)
            c = out
    return total + conv(c, 4 * c, 1) + fc(4 * c, 1000)


def macs_by_hooks(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """MACs of the convolutions and of the fully connected layers, by torch's own shapes on the meta device."""
    macs = {nn.Conv2d: 0, nn.Linear: 0}

    def add(layer: nn.Module, _: object, output: Tensor) -> None:
        macs[type(layer)] += output.numel() * prod(layer.weight.shape[1:])

    handles = [m.register_forward_hook(add) for m in network.modules() if type(m) in macs]
    with no_grad():
        network.eval()(empty(shape, device="meta"))
    for handle in handles:
        handle.remove()
    return macs[nn.Conv2d], macs[nn.Linear]


def longest_common(a: list[tuple[int, ...]], b: list[tuple[int, ...]]) -> int:
    """The length of the longest common subsequence."""
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            best[i + 1][j + 1] = best[i][j] + 1 if x == y else max(best[i][j + 1], best[i + 1][j])
    return best[-1][-1]
