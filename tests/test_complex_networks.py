"""Networks that compute with complex numbers: counts by the papers, both executions, the peak of the allocator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import costmodel
from tests.live_memory import measured_peak

C = torch.complex64
pytestmark = pytest.mark.filterwarnings("ignore:Complex modules are a new feature", "ignore:Using padding=.same.")


class SpectralConvolution(nn.Module):
    """A Fourier layer: the lowest modes are mixed across channels (Li et al., arXiv:2010.08895, section 4)."""

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        weights = (torch.randn(channels, channels, modes, modes, dtype=C) for _ in range(2))
        self.low, self.high = map(nn.Parameter, weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        m, spectrum = self.modes, torch.fft.rfft2(x)
        mixed = torch.zeros_like(spectrum)
        mixed[:, :, :m, :m] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :m, :m], self.low)
        mixed[:, :, -m:, :m] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, -m:, :m], self.high)
        return torch.fft.irfft2(mixed, s=x.shape[-2:])


class FourierBlock(nn.Module):
    """A block of a Fourier neural operator."""

    def __init__(self) -> None:
        super().__init__()
        self.spectral, self.local = SpectralConvolution(8, 4), nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.spectral(x) + self.local(x))


class GlobalFilter(nn.Module):
    """A product with a filter that has a learnt complex number for every frequency (Rao et al., arXiv:2107.00645)."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.randn(size, size // 2 + 1, channels, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, channels = x.shape
        grid = x.view(batch, self.size, self.size, channels)
        spectrum = torch.fft.rfft2(grid, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.weight)
        filtered = torch.fft.irfft2(spectrum, s=(self.size, self.size), dim=(1, 2), norm="ortho")
        return filtered.reshape(batch, tokens, channels)


def complex_cnn() -> nn.Module:
    """Convolutions, an activation, a pool and a classifier, all of complex numbers."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 4, 3, padding="same"), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 5),
    ).to(C)  # fmt: skip


def complex_mlp() -> nn.Module:
    """Linear layers with a norm."""
    return nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.RMSNorm(16), nn.Linear(16, 4)).to(C)


NETWORKS: dict[str, tuple[Any, tuple[int, ...], torch.dtype]] = {
    "Fourier neural operator": (FourierBlock, (2, 8, 16, 16), torch.float32),
    "global filter": (lambda: GlobalFilter(6, 8), (2, 64, 6), torch.float32),
    "complex CNN": (complex_cnn, (2, 3, 16, 16), C),
    "complex MLP": (complex_mlp, (32, 8), C),
    "complex GRU": (lambda: nn.GRU(8, 6, 2).to(C), (5, 3, 8), C),
    "complex LSTM": (lambda: nn.LSTM(8, 6).to(C), (5, 3, 8), C),
    "complex transposed convolution": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 3, 2), nn.Softsign()).to(C), (3, 16, 16), C
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_both_executions_and_the_allocator_agree(name: str) -> None:
    """On meta and for real: the same arithmetic, traffic and peak, which is the allocator's; both wings agree."""
    make, shape, dtype = NETWORKS[name]
    model, x = make(), torch.randn(shape, dtype=dtype)
    on_meta, real = (costmodel.profile(model, x, execution=e) for e in ("meta", "real"))
    for p in (on_meta, real):
        assert p.is_exact
        assert p.crosscheck().mismatches == []
    assert on_meta.pricing.work == real.pricing.work
    assert on_meta.pricing.traffic == real.pricing.traffic
    assert on_meta.peak_memory == real.peak_memory == measured_peak(model, [x])


def test_a_fourier_layer_mixes_channels_by_complex_products() -> None:
    """Two corners of modes x modes: 8 FLOPs for each pair of channels, frequency and image."""
    p = costmodel.profile(FourierBlock(), (2, 8, 16, 16))
    mixing = [op for op in p.pricing.ops if op.call.op == "aten.bmm.default"]
    assert sum(op.work.flops for op in mixing) == 8 * 2 * (2 * 8 * 8 * 4 * 4)
    # 16 x 16 points, 8 levels of radix 2, 10 FLOPs a butterfly, a real transform being half; the inverse's scale.
    transform = 10 * (2 * 8 * 16 * 16 // 2) * (4 + 4) // 2
    local = 2 * 8 * 8 * 256 * 2 + 8 * 256 * 2
    scale, residual, gelu = 8 * 256 * 2, 8 * 256 * 2, 5 * 8 * 256 * 2
    assert p.flops == 8 * 2 * (2 * 8 * 8 * 4 * 4) + 2 * transform + scale + local + residual + gelu
    assert p.params_bytes == 2 * (8 * 8 * 4 * 4) * 8 + (8 * 8 + 8) * 4


def test_a_global_filter_is_a_complex_product() -> None:
    """6 FLOPs for each frequency and channel; both transforms scale, one of them complex results."""
    p = costmodel.profile(GlobalFilter(6, 8), (2, 64, 6))
    frequencies = 2 * 8 * 5 * 6
    assert [op.work.flops for op in p.pricing.ops if op.call.op == "aten.mul.Tensor"] == [6 * frequencies]
    transform = 10 * (2 * 64 * 6 // 2) * (3 + 3) // 2
    assert p.flops == 6 * frequencies + 2 * transform + 2 * frequencies + 2 * 64 * 6
