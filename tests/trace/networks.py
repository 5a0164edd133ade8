"""Small networks that do what real ones do, for the tests of the trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """A block with a functional shortcut and one activation module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class Net(nn.Module):
    """Convolutions, batch norm, dropout and a functional flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 3, padding=1), Residual()
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(self.stem(x))
        return self.fc(self.drop(F.adaptive_avg_pool2d(x, 1).flatten(1)))


class UNet(nn.Module):
    """Down, up by a transposed convolution, up by interpolation, and skips that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.mix, self.out = nn.Conv2d(16, 8, 3, padding=1), nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(a))
        c = self.mix(torch.cat([a, self.up(b)], 1))
        wide = F.interpolate(b[:, :8], scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(torch.cat([c, wide], 1))


class Transformer(nn.Module):
    """A vision transformer: patches, a class token, encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.position = nn.Parameter(torch.zeros(1, 17, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu", norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.encoder(x)[:, 0])


class Recurrent(nn.Module):
    """Words, a two-layer LSTM, the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(50, 8), nn.LSTM(8, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        y, (h, c) = self.lstm(self.words(x))
        return {"logits": self.out(y[:, -1]), "state": [h, c]}


class AsksForValues(nn.Module):
    """Takes a branch on a value: cannot be traced without computing."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.b(self.a(x))
        return x * 2 if x.sum() > -1e9 else x


class Fails(nn.Module):
    """Changes itself, then raises half-way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.BatchNorm2d(3), nn.Conv2d(8, 3, 1)
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(1)
        self.cache = x
        self.first.momentum = 0.5
        return self.second(self.first(x))
