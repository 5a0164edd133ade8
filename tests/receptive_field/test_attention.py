"""Where attention makes a field global, the result, the error and every view say so, and name the layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.receptive_field import UnknownLayerError


class Patches(nn.Module):
    """A small vision transformer: patches of pixels as tokens, a block, the mean, a classifier."""

    def __init__(self, block: nn.Module, size: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, size, size)
        self.block = block
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        out: Tensor = self.head(self.block(tokens).mean(1))
        return out


class WrittenOut(nn.Module):
    """Attention from its parts, with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        out: Tensor = x + weights @ self.v(x)
        return out


BLOCKS = {
    "encoder layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), "block.self_attn"),
    "written out": (WrittenOut, "block/_softmax"),
}


def network(kind: str) -> tuple[Patches, costmodel.Profile, str]:
    """The network, its profile on 16 x 16 pixels, and the name of the layer that joins all positions."""
    make, name = BLOCKS[kind]
    model = Patches(make()).eval()
    return model, costmodel.profile(model, (1, 3, 16, 16)), name


@pytest.mark.parametrize("kind", BLOCKS)
def test_the_result_names_the_attention(kind: str) -> None:
    """The deepest local map is that of the patches; what is behind it sees the whole image, as real gradients show."""
    model, p, name = network(kind)
    local = p.receptive_field()
    assert (local.layer, local.size, local.is_global, local.attention) == ("patch", (4, 4), False, name)
    assert local.reason == f"from {name} on the field is the whole input, as attention joins all positions"
    behind = p.receptive_field("block")
    assert (behind.size, behind.is_global, behind.attention) == ((16, 16), True, name)
    assert behind.reason == f"here the field is the whole input, as attention in {name} joins all positions"
    assert p.receptive_field("patch").reason == ""
    assert p.global_attention == name
    image = torch.randn(1, 3, 16, 16, requires_grad=True)
    tokens = model.block(model.patch(image).flatten(2).transpose(1, 2))
    (gradient,) = torch.autograd.grad(tokens[0, 0].square().sum(), image)
    assert bool((gradient.abs().sum((0, 1)) > 0).all())  # the first token depends on every pixel


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_view_says_that_the_whole_image_is_seen(kind: str) -> None:
    """Text, Markdown and page name the layer; a comparison has the whole input in the place of the patch's size."""
    _, p, name = network(kind)
    assert f"receptive field: the whole input, as attention joins all positions from {name} on" in str(p)
    assert "Receptive field: the whole input, as attention joins all positions from block" in p.to_markdown()
    page = p.to_html()
    assert f"<dd>the whole input, as attention joins all positions from {name} on; before it 4 positions" in page
    assert ">whole input</td>" in costmodel.compare({"a": p, "b": p}).to_html()


def test_one_position_is_one() -> None:
    """Each token is a pixel."""
    page = costmodel.profile(Patches(WrittenOut(), size=1), (1, 3, 4, 4)).to_html()
    assert "; before it 1 position, at patch" in page


def test_other_networks_have_no_such_reason() -> None:
    """Neither a global pool, nor a squeeze-excitation, nor the softmax of a classifier is attention."""
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), nn.Softmax(-1))
    per_position = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softmax(1))
    for model in (plain, per_position, costmodel.models.se_resnet50()):
        p = costmodel.profile(model, (1, 3, 64, 64))
        assert p.global_attention is None
        assert p.receptive_field().reason == ""
        assert "joins all positions" not in f"{p}{p.to_markdown()}"
    assert costmodel.profile(plain, (1, 3, 64, 64)).receptive_field("3").is_global


def test_without_a_local_map_the_error_gives_the_reason() -> None:
    """A network that begins with attention has no local field, and the error says why."""

    class Attends(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    p = costmodel.profile(Attends(), (1, 2, 6, 8))
    with pytest.raises(
        UnknownLayerError, match="no layer has a local receptive field, as attention joins all positions"
    ):
        p.receptive_field()
    assert "the whole input, as attention joins all positions" in str(p)
