"""The blocks that more than one paper uses, each written once, as walks of a feature map."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.quantities import Count

from ._feature_map import FeatureMap, Ledger


def square(ledger: Ledger, resolution: Count, channels: Count = 3) -> FeatureMap:
    """An image of resolution x resolution, or of (height, width)."""
    size = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    return ledger.image(channels, *size)


def pooled(x: FeatureMap, size: int = 1) -> FeatureMap:
    """An average pool to size x size, flattened."""
    return x.adaptive_avg_pool("avgpool", size).flatten("flatten")


def squeeze_excitation(
    x: FeatureMap, name: str, squeezed: Count, *, act: str = "relu", gate: str = "sigmoid"
) -> FeatureMap:
    """The mean of each channel, 1x1 down, 1x1 up, a gate, and the product: arXiv:1709.01507, section 3."""
    scale = x.adaptive_avg_pool(f"{name}.pool").conv(f"{name}.reduce", squeezed, bias=True).act(f"{name}.act", act)
    scale = scale.conv(f"{name}.expand", x.channels, bias=True).act(f"{name}.gate", gate)
    return x.gate(f"{name}/mul", scale)


def inverted_residual(
    x: FeatureMap,
    name: str,
    expanded: Count,
    c_out: Count,
    *,
    kernel: int,
    stride: int,
    act: str,
    se: Callable[[FeatureMap, str], FeatureMap] | None = None,
) -> FeatureMap:
    """1x1 up where channels grow, depthwise, an optional squeeze-excitation, 1x1 down, and a sum where shapes allow.

    Source: arXiv:1801.04381, Figure 3b; with `se` arXiv:1905.02244, Figure 4.
    """
    y = x.only(expanded != x.channels).conv_norm(f"{name}.expand", expanded, act=act).always()
    y = y.conv_norm(f"{name}.depthwise", expanded, kernel, stride=stride, groups=expanded, act=act)
    if se is not None:
        y = se(y, f"{name}.se")
    y = y.conv_norm(f"{name}.project", c_out)
    return summed(y, x, name, stride)


def summed(y: FeatureMap, x: FeatureMap, name: str, stride: int) -> FeatureMap:
    """A body's output and its input, added where neither size nor channels changed."""
    return y.only(y.channels == x.channels).add(f"{name}/add_", x).always() if stride == 1 else y
