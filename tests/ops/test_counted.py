"""The arithmetic that rules of rarer ops tell: definitions as loops over numbers that count, or worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._asking import record, traffic, work
from tests.ops._counting import Number, counted, exp, log, power_norm, total, values

X = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
ROWS = torch.tensor([1, 0, 1, 2, 2])
aten = torch.ops.aten


def between(a: list[Number], b: list[Number], p: float) -> Number:
    """The p-norm of the difference of two vectors."""
    return power_norm([x - y for x, y in zip(a, b, strict=True)], p)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_distances(p: float) -> None:
    """Between all of two sets, each pair of one set, and two tensors as vectors."""
    a, b = X[0], X[1, :2]
    result, done = counted(lambda xs, ys: [[between(x, y, p) for y in ys] for x in xs], a, b)
    torch.testing.assert_close(values(result).float(), torch.cdist(a, b, p))
    assert done == work("aten._cdist_forward.default", x1=a, x2=b, p=p, compute_mode=None)
    result, done = counted(lambda xs: [between(xs[i], xs[j], p) for i in range(3) for j in range(i + 1, 3)], a)
    torch.testing.assert_close(values(result).float(), torch.nn.functional.pdist(a, p))
    assert done == work("aten._pdist_forward.default", self=a, p=p)
    result, done = counted(lambda xs, ys: between(xs, ys, p), a.flatten(), a.flatten() * 2)
    torch.testing.assert_close(values(result).float(), torch.dist(a, a * 2, p))
    assert done == work("aten.dist.default", self=a, other=a * 2, p=p)


def test_distances_by_euclid_are_those_of_the_2_norm() -> None:
    """The op that torch runs for many points counts as the one for few."""
    two = work("aten._cdist_forward.default", x1=X, x2=X, p=2.0, compute_mode=None)
    assert work("aten._euclidean_dist.default", x1=X, x2=X) == two == Work(adds=126, multiplies=72, transcendentals=18)


def bounded(vector: list[Number], most: float, p: float) -> list[Number]:
    """A vector that is too long, made shorter."""
    norm = power_norm(vector, p)
    if norm > most:
        scale = most / (norm + 1e-7)
        return [x * scale for x in vector]
    raise AssertionError("the example's vectors are all too long")


def test_norms_below_a_bound() -> None:
    """Each vector's norm is compared with the bound, and the vector made shorter; of a table, the rows looked up."""
    result, done = counted(lambda xs: [bounded([x for row in item for x in row], 0.1, 2) for item in xs], X)
    torch.testing.assert_close(values(result).float().view(2, 3, 4), torch.renorm(X, 2, 0, 0.1))
    assert done == work("aten.renorm.default", self=X, p=2, dim=0, maxnorm=0.1)
    table, rows = X[0].clone(), torch.tensor([2, 0])
    result, done = counted(lambda xs: [bounded(xs[i], 0.1, 1) for i in (0, 2)], table)
    arguments = {"self": table, "indices": rows, "max_norm": 0.1, "norm_type": 1.0}
    call = record("aten.embedding_renorm_.default", **arguments)
    assert done == work("aten.embedding_renorm_.default", **arguments)
    assert call.outputs[0].shape == (3, 4)
    moved = Traffic(read=2 + 8, written=8, read_bytes=16 + 32, written_bytes=32)
    assert traffic("aten.embedding_renorm_.default", **arguments) == moved


def test_closeness() -> None:
    """Each difference is compared with a bound of its own."""
    run = lambda xs, ys: [abs(x - y) < y * 1e-5 + 1e-8 for x, y in zip(xs, ys, strict=True)]  # noqa: E731
    _, done = counted(run, X.flatten(), X.flatten() + 1)
    assert done == work("aten.allclose.default", self=X, other=X + 1)


@pytest.mark.parametrize("density", [False, True])
def test_histogram_of_equal_bins(density: bool) -> None:
    """Each element in range finds its bin and adds to it; a density divides by the sum times the width."""

    def run(xs: list[Number]) -> Any:
        counts = [Number(0, xs[0].tally) for _ in range(4)]
        for x in xs:
            if x < 0 or x > 1:
                continue
            counts[min(int(((x - 0.0) * 4 / 1).value), 3)] += 1
        if density:
            edges = [Number(i / 4, xs[0].tally) for i in range(5)]
            all_ = total(counts)
            counts = [c / (all_ * (edges[i + 1] - edges[i])) for i, c in enumerate(counts)]
        return counts

    result, done = counted(run, X.flatten())
    arguments: dict[str, Any] = {"self": X, "bins": 4, "range": [0.0, 1.0], "density": density}
    torch.testing.assert_close(values(result).float(), torch.histogram(X, 4, range=(0.0, 1.0), density=density).hist)
    assert done == work("aten.histogram.bin_ct", **arguments)
    # 24 elements: least and greatest are found by 2 * 23 comparisons first.
    arguments.pop("range")
    assert work("aten.histogram.bin_ct", **arguments) == done + Work(compares=46)


def test_histogram_of_given_edges() -> None:
    """One of four edges' three bins, or beyond either end: five answers take three comparisons."""
    for edges in ([0.0, 0.3, 0.5, 1.0], [0.0, 0.3, 0.5, 0.7, 0.9, 1.0]):
        found = work("aten.histogram.bins_tensor", self=X, bins=torch.tensor(edges))
        assert found == Work(compares=24 * 3, adds=24)


def test_histogram_of_no_given_range() -> None:
    """Its least and greatest of 24 elements are found first."""
    given = Work(compares=48, adds=48, multiplies=24, divides=24)
    assert work("aten.histc.default", self=X, bins=4, min=0, max=1) == given
    assert work("aten.histc.default", self=X, bins=4, min=0, max=0) == given + Work(compares=46)


def test_histograms_of_points() -> None:
    """Each coordinate finds its bin along its axis, and the point adds to one count."""
    points = X.view(12, 2)
    ranged = {"self": points, "bins": [3, 2], "range": [0.0, 1.0, 0.0, 1.0]}
    coordinates = Work(compares=48, adds=24, multiplies=24, divides=24)
    assert work("aten._histogramdd_from_bin_cts.default", **ranged) == coordinates + Work(adds=12)
    # 6 bins: 5 additions for the sum, then of each bin two widths, two products and a division.
    density = Work(adds=5 + 12, multiplies=12, divides=6)
    dense = work("aten._histogramdd_from_bin_cts.default", **ranged, density=True)
    assert dense == coordinates + Work(adds=12) + density
    assert work("aten._histogramdd_bin_edges.default", self=points, bins=[3, 2]) == Work(compares=2 * 2 * 11)
    edges = [torch.linspace(0, 1, 4), torch.linspace(0, 1, 6)]
    searched = work("aten._histogramdd_from_bin_tensors.default", self=points, bins=edges)
    assert searched == Work(compares=12 * (3 + 3), adds=12)


@pytest.mark.parametrize(
    ("target", "arguments", "done"),
    [
        # The third of 4 along each of 6 rows: 3 matches, and ceil(log2 4) for each further one, of which there is 1.
        ("aten.nanmedian.dim", {"self": X, "dim": 2}, Work(compares=6 * (4 + 3 + 2))),
        # The twelfth of 24: 23 matches, and 11 times 5.
        ("aten.median.default", {"self": X}, Work(compares=23 + 55)),
        ("aten.nanmedian.default", {"self": X}, Work(compares=24 + 23 + 55)),
        # Six rows of 4 sorted by 5 comparisons, then 3 neighbours compared.
        ("aten.mode.default", {"self": X}, Work(compares=6 * (5 + 3))),
        # 5 elements: 3 levels of merges are 5 * 3 - 8 + 1 comparisons, then 4 neighbours are compared.
        ("aten._unique2.default", {"self": ROWS}, Work(compares=8 + 4)),
        ("aten._unique2.default", {"self": ROWS[:1]}, Work()),
        ("aten._unique2.default", {"self": ROWS[:0]}, Work()),
        # Each element of the cross product is the difference of two products.
        ("aten.linalg_cross.default", {"self": torch.rand(2, 3), "other": torch.rand(2, 3)},
         Work(multiplies=12, adds=6)),
        ("aten.bincount.default", {"self": ROWS}, Work(adds=5)),
        ("aten.trace.default", {"self": X[0]}, Work(adds=2)),
        # 12 gradients into overlapping windows.
        ("aten.unfold_backward.default", {"grad_in": X, "input_sizes": [2, 6], "dim": 1, "size": 4, "step": 1},
         Work(adds=24)),
        ("aten.native_dropout_backward.default", {"grad_output": X, "mask": X > 0, "scale": 2.0},
         Work(multiplies=48)),
        ("aten.fractional_max_pool2d.default",
         {"self": torch.rand(2, 3, 6, 6), "kernel_size": [2, 2], "output_size": [3, 3],
          "random_samples": torch.rand(2, 3, 2)}, Work(compares=54 * 3)),
        ("aten.max_unpool2d.default",
         {"self": torch.rand(2, 2, 2), "indices": torch.arange(4).repeat(2).view(2, 2, 2), "output_size": [4, 4]},
         Work()),
        ("aten.lcm.default", {"self": ROWS, "other": ROWS}, Work(transcendentals=5, divides=5, multiplies=5)),
        ("aten.gcd.default", {"self": ROWS, "other": ROWS}, Work(transcendentals=5)),
        ("aten.special_bessel_j0.default", {"self": X}, Work(transcendentals=24)),
        ("aten.special_legendre_polynomial_p.default", {"x": X, "n": X}, Work(transcendentals=24)),
        ("aten.polygamma.default", {"n": 1, "self": X}, Work(transcendentals=24)),
        ("aten.round.decimals", {"self": X, "decimals": 0}, Work()),
        ("aten.nextafter.default", {"self": X, "other": X}, Work()),
        ("aten.frexp.Tensor", {"self": X}, Work()),
        ("aten.index_reduce.default", {"self": X, "dim": 1, "index": ROWS, "source": torch.rand(2, 5, 4),
                                       "reduce": "mean"}, Work(adds=40, divides=24)),
        ("aten.index_reduce.default", {"self": X, "dim": 1, "index": ROWS, "source": torch.rand(2, 5, 4),
                                       "reduce": "prod"}, Work(multiplies=40)),
        ("aten.scatter.value_reduce", {"self": X[0], "dim": 0, "index": ROWS.view(1, 5)[:, :4], "value": 2.0,
                                       "reduce": "multiply"}, Work(multiplies=4)),
        ("aten.put.default", {"self": X, "index": ROWS, "source": torch.rand(5), "accumulate": True}, Work(adds=5)),
        ("aten.put.default", {"self": X, "index": ROWS, "source": torch.rand(5)}, Work()),
        ("aten._unsafe_masked_index_put_accumulate.default",
         {"self": X, "mask": torch.ones(2, 5, 4, dtype=torch.bool), "indices": [None, ROWS],
          "values": torch.rand(2, 5, 4)}, Work(adds=40)),
        ("aten.normal.Tensor_Tensor", {"mean": X, "std": X}, Work(multiplies=24, adds=24)),
        ("aten.normal.float_Tensor", {"mean": 0.5, "std": X}, Work(multiplies=24, adds=24)),
        ("aten.resize_.default", {"self": X.clone(), "size": [2, 2]}, Work()),
    ],
)  # fmt: skip
def test_worked_by_hand(target: str, arguments: dict[str, Any], done: Work) -> None:
    """Small calls, counted on paper."""
    assert work(target, **arguments) == done


@pytest.mark.parametrize("initial", [None, 1.0])
@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "prod"])
def test_segments(reduce: str, initial: float | None) -> None:
    """A segment's elements are joined from left to right, from the first value that is given or from the first one."""
    x, lengths = X[0], torch.tensor([1, 2])
    join = {"prod": lambda a, b: a * b, "max": lambda a, b: a if a > b else b}.get(reduce, lambda a, b: a + b)

    def run(rows: Any) -> Any:
        results = []
        for segment in (rows[:1], rows[1:]):
            columns = []
            for column in zip(*segment, strict=True):
                items = list(column) if initial is None else [initial, *column]
                result = items[0] if isinstance(items[0], Number) else Number(items[0], column[0].tally)
                for item in items[1:]:
                    result = join(result, item)
                columns.append(result / len(segment) if reduce == "mean" else result)
            results.append(columns)
        return results

    result, done = counted(run, x)
    arguments: dict[str, Any] = {"data": x, "reduce": reduce, "lengths": lengths, "initial": initial}
    assert done == work("aten.segment_reduce.default", **arguments)
    if reduce != "mean" or initial is None:
        real = aten.segment_reduce(x, reduce, lengths=lengths, initial=initial)
        torch.testing.assert_close(values(result).float(), real)


@pytest.mark.parametrize(("beta", "alpha"), [(1, 1), (2, 1), (1, 3), (2, 3), (0, 1)])
def test_outer_products(beta: int, alpha: int) -> None:
    """beta self + alpha (a x b), without what multiplies by 0 or 1."""
    a, b = torch.rand(3), torch.rand(4)

    def run(xs: Any, us: Any, vs: Any) -> Any:
        outer = [[u * v for v in vs] for u in us]
        scaled = [[o * alpha for o in row] for row in outer] if alpha != 1 else outer
        if beta == 0:
            return scaled
        own = [[x * beta for x in row] for row in xs] if beta != 1 else xs
        return [[o + x for o, x in zip(*rows, strict=True)] for rows in zip(scaled, own, strict=True)]

    result, done = counted(run, X[0], a, b)
    torch.testing.assert_close(values(result).float(), torch.addr(X[0], a, b, beta=beta, alpha=alpha))
    assert done == work("aten.addr.default", self=X[0], vec1=a, vec2=b, beta=beta, alpha=alpha)


def test_gradient_of_softmax() -> None:
    """y (g - sum(g y)) along each row."""
    y, g = X.softmax(1), X + 1

    def run(ys: Any, gs: Any) -> Any:
        products = [a * b for a, b in zip(ys, gs, strict=True)]
        sum_ = total(products)
        return [a * (b - sum_) for a, b in zip(ys, gs, strict=True)]

    rows = [counted(run, y[i, :, j], g[i, :, j])[1] for i in range(2) for j in range(4)]
    arguments = {"grad_output": g, "output": y, "dim": 1, "input_dtype": torch.float32}
    assert sum(rows, Work()) == work("aten._softmax_backward_data.default", **arguments)


def test_gradient_of_max_pooling() -> None:
    """Windows overlap: each gradient is added to what is where its maximum was; the input's values are not read."""
    x = torch.rand(1, 2, 5, 5)
    y, where = torch.nn.functional.max_pool2d(x, 3, 2, return_indices=True)
    arguments: dict[str, Any] = {"grad_output": y, "self": x, "kernel_size": [3, 3], "stride": [2, 2]}
    arguments |= {"padding": [0, 0], "dilation": [1, 1], "ceil_mode": False, "indices": where}
    assert work("aten.max_pool2d_with_indices_backward.default", **arguments) == Work(adds=8)
    moved = traffic("aten.max_pool2d_with_indices_backward.default", **arguments)
    assert (moved.read, moved.written) == (16, 50)


def test_fake_quantisation() -> None:
    """Times 1 / s, plus z, clamped from both sides, less z, times s."""
    s, z = 0.1, 3

    def run(xs: list[Number]) -> Any:
        results = []
        for x in xs:
            q = Number(round((x * (1 / s)).value), x.tally) + z
            low, high = q < 0, q > 255
            q = Number(0, x.tally) if low else Number(255, x.tally) if high else q
            results.append((q - z) * s)
        return results

    result, done = counted(run, X.flatten())
    torch.testing.assert_close(values(result).float(), torch.fake_quantize_per_tensor_affine(X, s, z, 0, 255).flatten())
    arguments = {"self": X, "scale": s, "zero_point": z, "quant_min": 0, "quant_max": 255}
    assert done == work("aten.fake_quantize_per_tensor_affine_cachemask.default", **arguments)
    channels = {**arguments, "scale": torch.ones(3), "zero_point": torch.zeros(3, dtype=torch.int32), "axis": 1}
    assert done == work("aten.fake_quantize_per_channel_affine_cachemask.default", **channels)
    learnable = {**channels, "zero_point": torch.zeros(3)}
    rounded = work("aten._fake_quantize_learnable_per_channel_affine.default", **learnable)
    assert rounded == done + Work(compares=6)


def test_observed_fake_quantisation() -> None:
    """Least and greatest of 24, two moving averages, a scale and a zero point, and then each element."""
    arguments: dict[str, Any] = {"self": X, "observer_on": torch.ones(1, dtype=torch.long)}
    arguments |= {"fake_quant_on": torch.ones(1, dtype=torch.long), "running_min": torch.zeros(1)}
    arguments |= {"running_max": torch.ones(1), "scale": torch.ones(1), "zero_point": torch.zeros(1, dtype=torch.int32)}
    arguments |= {"averaging_const": 0.01, "quant_min": 0, "quant_max": 255, "ch_axis": -1}
    each = Work(multiplies=48, adds=48, compares=48)
    observed = Work(compares=46, adds=4 + 2, multiplies=2, divides=2)
    arguments |= {"per_row_fake_quant": False}
    assert work("aten._fused_moving_avg_obs_fq_helper.default", **arguments) == each + observed
    # Of 2 channels of 12, whose ranges are empty before the first run.
    arguments |= {name: torch.empty(0) for name in ("running_min", "running_max")}
    arguments |= {"per_row_fake_quant": True, "ch_axis": 0, "scale": torch.ones(2)}
    arguments |= {"zero_point": torch.zeros(2, dtype=torch.int32)}
    observed = Work(compares=2 * 2 * 11, adds=2 * (4 + 2), multiplies=2 * 2, divides=2 * 2)
    assert work("aten._fused_moving_avg_obs_fq_helper.default", **arguments) == each + observed


def cosine(x: Number) -> Number:
    """One transcendental function."""
    return x.of(math.cos)


N = 8
WINDOWS: dict[str, Any] = {
    "hann": lambda n: 0.5 - 0.5 * cosine(n * (2 * math.pi / N)),
    "hamming": lambda n: 0.54 - 0.46 * cosine(n * (2 * math.pi / N)),
    "blackman": lambda n: 0.42 - 0.5 * cosine(n * (2 * math.pi / N)) + 0.08 * cosine(n * (4 * math.pi / N)),
    "bartlett": lambda n: 1 - abs(n * (2 / N) - 1),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name: str) -> None:
    """Each sample by the window's formula; one of a single sample is 1, and not computed."""
    result, done = counted(lambda ns: [WINDOWS[name](n) for n in ns], torch.arange(N).float())
    real = getattr(torch, f"{name}_window")(N)
    torch.testing.assert_close(values(result).float(), real, rtol=1e-4, atol=1e-5)
    assert done == work(f"aten.{name}_window.default", window_length=N)
    assert work(f"aten.{name}_window.periodic", window_length=1, periodic=True) == Work()
    one, *more = (
        list(RULES[f"aten.{name}_window.default"].temporaries({"window_length": n, "dtype": None})) for n in (1, 2, 100)
    )
    assert one == []
    assert len(more[0]) == len(more[1])


def test_kaisers_window() -> None:
    """I0(beta sqrt(1 - (2 n / N - 1)^2)) over a constant."""

    def run(ns: list[Number]) -> Any:
        i0 = lambda v: float(torch.i0(torch.tensor(v, dtype=torch.float64)))  # noqa: E731
        results = []
        for n in ns:
            ratio = n * (2 / N) - 1
            root = (1 - ratio * ratio).of(lambda v: math.sqrt(max(v, 0)))
            results.append((12.0 * root).of(i0) / i0(12.0))
        return results

    result, done = counted(run, torch.arange(N).float())
    torch.testing.assert_close(values(result).float(), torch.kaiser_window(N), rtol=1e-4, atol=1e-5)
    assert done == work("aten.kaiser_window.default", window_length=N)


def test_functions_of_functions() -> None:
    """Special functions that are defined by others."""
    definitions: dict[str, Any] = {
        "special_entr": lambda x: -(x * log(x)),
        "special_xlog1py": lambda x, y: x * y.of(math.log1p),
        "logaddexp2": lambda x, y: (y if x < y else x) + ((-abs(x - y)).of(math.exp2) + 1).of(math.log2),
        "mvlgamma": lambda x: total([(x - 0).of(math.lgamma), (x - 0.5).of(math.lgamma)]) + math.log(math.pi) / 2,
        "round": lambda x: Number(round((x * 100).value), x.tally) / 100,
    }
    options: dict[str, dict[str, Any]] = {"mvlgamma": {"p": 2}, "round": {"decimals": 2}}
    x, y = X.flatten() + 1, X.flatten().flip(0) + 1
    for name, definition in definitions.items():
        two = name in ("special_xlog1py", "logaddexp2")
        numbers = (x, y) if two else (x,)
        result, done = counted(lambda *lists, f=definition: [f(*item) for item in zip(*lists, strict=True)], *numbers)
        overload = "decimals" if name == "round" else "default"
        arguments = {"self": x, **({"other": y} if two else {}), **options.get(name, {})}
        real = getattr(getattr(aten, name), overload)(*arguments.values()) if name != "round" else x.round(decimals=2)
        torch.testing.assert_close(values(result).float(), real, rtol=1e-4, atol=1e-5)
        if name == "mvlgamma":
            done = done + Work(adds=-24)  # of the first argument nothing is taken off
        assert done == work(f"aten.{name}.{overload}", **arguments), name


def test_copies_read_what_they_write() -> None:
    """Of a tensor that is cut, only the piece; of one that is expanded, what there is."""
    narrow = traffic("aten.narrow_copy.default", self=X, dim=2, start=1, length=2)
    assert (narrow.read, narrow.written, narrow.read_bytes, narrow.written_bytes) == (12, 12, 48, 48)
    expanded = traffic("aten.expand_copy.default", self=torch.rand(3, 1), size=[2, 3, 4])
    assert (expanded.read, expanded.written) == (3, 24)
    pieces = traffic("aten.split_with_sizes_copy.default", self=X, split_sizes=[1, 2], dim=1)
    assert (pieces.read, pieces.written) == (24, 24)


def test_exponentials_are_counted_once() -> None:
    """The numbers that count agree with the table on what a function is."""
    assert counted(lambda xs: [exp(x) for x in xs], X.flatten())[1] == Work(transcendentals=24)
