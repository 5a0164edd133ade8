"""The classes of torch's layers by what counters of modules do with them, and their arithmetic as several count it."""

from __future__ import annotations

from math import prod

from costmodel.conventions.tool import Called, ToolFailsError

CONV = tuple(f"torch.nn.modules.conv.Conv{n}d" for n in (1, 2, 3))
TRANSPOSED_CONV = tuple(f"torch.nn.modules.conv.ConvTranspose{n}d" for n in (1, 2, 3))
BATCH_NORM = tuple(f"torch.nn.modules.batchnorm.BatchNorm{n}d" for n in (1, 2, 3))
INSTANCE_NORM = tuple(f"torch.nn.modules.instancenorm.InstanceNorm{n}d" for n in (1, 2, 3))
MAX_POOL = tuple(f"torch.nn.modules.pooling.{a}MaxPool{n}d" for a in ("", "Adaptive") for n in (1, 2, 3))
AVG_POOL = tuple(f"torch.nn.modules.pooling.AvgPool{n}d" for n in (1, 2, 3))
ADAPTIVE_AVG_POOL = tuple(f"torch.nn.modules.pooling.AdaptiveAvgPool{n}d" for n in (1, 2, 3))
_UPSAMPLING = ("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d")
UPSAMPLE = tuple(f"torch.nn.modules.upsampling.{name}" for name in _UPSAMPLING)
LINEAR = "torch.nn.modules.linear.Linear"
LAYER_NORM = "torch.nn.modules.normalization.LayerNorm"
GROUP_NORM = "torch.nn.modules.normalization.GroupNorm"
MULTIHEAD = "torch.nn.modules.activation.MultiheadAttention"
SEQUENTIAL = "torch.nn.modules.container.Sequential"


def activation(*names: str) -> tuple[str, ...]:
    """The classes of activations."""
    return tuple(f"torch.nn.modules.activation.{name}" for name in names)


def recurrent(*names: str) -> tuple[str, ...]:
    """The classes of recurrent layers and cells."""
    return tuple(f"torch.nn.modules.rnn.{name}" for name in names)


def nothing(_: Called) -> int:
    """What is counted for a layer that costs nothing."""
    return 0


def tupled(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    """A size of each dimension."""
    return (value,) * dims if isinstance(value, int) else value


def is_affine(called: Called) -> bool:
    """Whether a norm says that it has weights."""
    attributes = called.module.attributes
    return bool(attributes.get("affine") or attributes.get("elementwise_affine"))


def softmax(rows: int, n: int) -> int:
    """An exponential and a division an element, and the sum of each row."""
    return rows * (3 * n - 1)


def rnn_cell(n_in: int, hidden: int, *, bias: bool) -> int:
    """Both products, an addition of them, and the biases."""
    return hidden * (n_in + hidden) + hidden + (2 * hidden if bias else 0)


def gru_cell(n_in: int, hidden: int, *, bias: bool) -> int:
    """Three gates, and what joins them."""
    return 3 * rnn_cell(n_in, hidden, bias=bias) + 4 * hidden


def lstm_cell(n_in: int, hidden: int, *, bias: bool, projected: int = 0) -> int:
    """Four gates, and what joins them; the projection, where it is counted."""
    gate = (n_in + (projected or hidden)) * hidden + hidden + (2 * hidden if bias else 0)
    return 4 * gate + 4 * hidden + hidden * projected


CELLS = {"RNN": rnn_cell, "GRU": gru_cell}


def stacked(called: Called, kind: str, *, with_projection: bool) -> int:
    """One step of one sequence through all layers and directions."""
    n_in, hidden, layers = int(called["input_size"]), int(called["hidden_size"]), int(called["num_layers"])
    bias, projected = bool(called["bias"]), int(called["proj_size"]) if with_projection and kind == "LSTM" else 0
    directions = 2 if called["bidirectional"] else 1

    def cell(size: int) -> int:
        if kind == "LSTM":
            return lstm_cell(size, hidden, bias=bias, projected=projected)
        return CELLS[kind](size, hidden, bias=bias)

    return directions * (cell(n_in) + (layers - 1) * cell((projected or hidden) * directions))


def implicit_dim(x: tuple[int, ...]) -> int:
    """The dimension that torch takes a softmax over where none is given."""
    return 0 if len(x) in (0, 1, 3) else 1


def positions(called: Called, x: tuple[int, ...]) -> int:
    """Steps times sequences of a recurrent layer's input, which has this shape."""
    if called.is_packed or len(x) == 2:
        return x[0]
    return prod(x[:2])


def recurrent_parameters(called: Called, suffix: str = "") -> tuple[int, int]:
    """Elements of the weights and of the biases of a cell, of counters that ask for the parameters by their names."""
    shapes = [called.parameter(f"{name}{suffix}") for name in ("weight_ih", "weight_hh")]
    names = [f"{name}{suffix}" for name in ("bias_ih", "bias_hh")] if called["bias"] else []
    return sum(map(prod, shapes)), sum(prod(called.parameter(name)) for name in names)


def require_padded(called: Called) -> None:
    """Raises for packed sequences, which have no shape."""
    if called.is_packed:
        raise ToolFailsError(f"{called.module.name}: it reads the shape of packed sequences, which have none")


def require_batch(called: Called) -> None:
    """Raises for a cell's input that is one vector."""
    if len(called.x) < 2:
        raise ToolFailsError(f"{called.module.name}: it reads the second size of a cell's input, {list(called.x)}")
