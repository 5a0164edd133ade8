"""How blocks are written down: a path takes a feature map through named layers, and notes what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from costmodel.formulas.activation import activation
from costmodel.formulas.convolution import conv
from costmodel.formulas.cost import BlockCost, LayerCost
from costmodel.formulas.elementwise import add
from costmodel.formulas.normalisation import batch_norm
from costmodel.quantities import Count


@dataclass(kw_only=True)
class Path:
    """A feature map of (batch, channels, *size), and the layers that made it."""

    channels: Count
    size: Sequence[Count]
    batch: Count = 1
    norm: bool = True
    layers: list[tuple[str, LayerCost]] = field(default_factory=list)

    def append(self, name: str, layer: LayerCost) -> Path:
        """One more layer; the map is its output from here on."""
        self.layers.append((name, layer))
        self.channels = layer.output_shape[1]
        self.size = layer.output_size
        return self

    def conv(
        self,
        name: str,
        c_out: Count,
        *,
        kernel: Count = 1,
        stride: Count = 1,
        groups: Count = 1,
        act: str | None = None,
        bias: bool | None = None,
    ) -> Path:
        """A convolution that keeps the size at stride 1, its batch norm, and its activation where there is one.

        It has a bias exactly where no norm follows, unless ``bias`` says otherwise.
        """
        if isinstance(kernel, int) and kernel % 2 == 0:
            raise ValueError(
                f"kernel={kernel} of {name} is even, and cannot be padded alike on both sides: choose an odd one"
            )
        self.append(
            name,
            conv(
                c_in=self.channels,
                c_out=c_out,
                kernel=kernel,
                size=self.size,
                stride=stride,
                padding=(kernel - 1) // 2,
                groups=groups,
                bias=not self.norm if bias is None else bias,
                batch=self.batch,
            ),
        )
        if self.norm:
            self.append(f"{name}_norm", batch_norm(channels=self.channels, size=self.size, batch=self.batch))
        return self.act(f"{name}_{act}", act) if act else self

    def act(self, name: str, act: str) -> Path:
        """An activation."""
        return self.append(name, activation(name=act, shape=self.shape))

    def add(self, name: str = "add") -> Path:
        """The sum with a residual."""
        return self.append(name, add(shape=self.shape))

    @property
    def shape(self) -> tuple[Count, ...]:
        """The map's shape."""
        return (self.batch, self.channels, *self.size)

    def fork(self) -> Path:
        """Another path from here."""
        return Path(channels=self.channels, size=self.size, batch=self.batch, norm=self.norm)

    @property
    def cost(self) -> BlockCost:
        """What has been noted."""
        return BlockCost(layers=tuple(self.layers))
