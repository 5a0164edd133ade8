"""Matrix products: linear and bilinear layers, and the product by itself."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from costmodel.formulas._arguments import as_shape, lesser, public, require
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas.cost import LayerCost
from costmodel.formulas.gradient import BackwardCost, Extra, Needs, Saved, always
from costmodel.quantities import Count, Work, prod


@public
def linear(
    *, in_features: Count, out_features: Count, bias: bool = True, rows: Count = 1, complex_valued: bool = False
) -> LayerCost:
    """y = x W^T + b for every row; ``rows`` is a count, or the leading shape of x (() for a bare vector).

    params = in out + out if bias
    macs = rows in out
    flops = 2 macs + rows out if bias; complex-valued: each mac is 4, each add 2
    memory_access = x + w + b + y = rows in + in out + out + rows out
    backward, with g the gradient of y: macs = rows in out each for g W (of x) and g^T x (of W); b: (rows - 1) out adds
    saved: x, if the gradient of W is asked for

    Shapes: x (*rows, in_features), w (out_features, in_features), y (*rows, out_features).
    Source: torch.nn.Linear; the last layers of Krizhevsky et al. 2012, section 3.5.

    >>> linear(in_features=2048, out_features=1000).params                                   # ResNet-50's last
    2049000
    >>> linear(in_features=768, out_features=3072, rows=(1, 197)).macs                       # ViT-B/16, MLP
    464781312
    """
    leading = as_shape(rows)
    require(in_features=in_features, out_features=out_features, rows=leading)
    count = prod(leading)
    weights = in_features * out_features
    biases = out_features if bias else 0
    outputs = count * out_features
    return LayerCost(
        kind="linear",
        output_shape=(*leading, out_features),
        read=count * in_features + weights + biases,
        written=outputs,
        work=on_numbers(Work(macs=count * weights, adds=outputs if bias else 0), complex_valued=complex_valued),
        params=weights + biases,
        activations=outputs,
        gradient=partial(_linear_backward, count, in_features, out_features, bias, complex_valued),
    )


def _linear_backward(
    rows: Count, in_features: Count, out_features: Count, has_bias: bool, complex_valued: bool, needs: Needs
) -> BackwardCost:
    g, x, w = rows * out_features, rows * in_features, in_features * out_features
    cost = BackwardCost()
    product = on_numbers(Work(macs=rows * w), complex_valued=complex_valued)
    if needs.input():
        cost += BackwardCost(read=g + w, written=x, work=product, saved_weights=w)
    if needs.weight:
        cost += BackwardCost(read=g + x, written=w, work=product, saved=(Saved("input", x),))
    if has_bias and needs.bias:
        added = on_numbers(Work(adds=g - out_features), complex_valued=complex_valued)
        cost += BackwardCost(read=g, written=out_features, work=added)
    return cost


def of_rows_apart(inputs: Count, outputs: Count, bias: bool, needs: Needs) -> Extra:
    """What a linear layer moves more in a training step where matrices of rows lie apart, as in a transposed input.

    The bias is added by a kernel of its own. For the gradient of its weight, all rows are copied together, and
    multiplied at once; else matrix by matrix.
    """
    moved = (outputs if bias else 0) + (inputs if needs.is_folded else 0)
    return Extra(read=moved, written=moved)


@public
def bilinear(
    *,
    in1_features: Count,
    in2_features: Count,
    out_features: Count,
    bias: bool = True,
    rows: Count = 1,
    complex_valued: bool = False,
) -> LayerCost:
    """y_k = x1 A_k x2^T + b_k for every row: first x1 A_k, a matrix product, then its product with x2.

    params = in1 in2 out + out if bias
    macs = rows out in2 (in1 + 1); complex-valued: each is 4
    memory_access = x1 + x2 + w + b + y
    backward, with M = rows in1 in2 out and g the gradient of y: M macs for each of three gradients, each a product of
    the other three tensors; x1: g A first, M multiplies, then (out - 1) rows in1 adds; x2: x1 A times g, rows in2 out
    multiplies, (out - 1) rows in2 adds; A: x1 g first, rows in1 out multiplies; b: (rows - 1) out adds
    saved: x2 for the gradient of x1, x1 for that of x2, both for that of A

    Shapes: x1 (*rows, in1), x2 (*rows, in2), w (out, in1, in2), y (*rows, out).
    Source: torch.nn.Bilinear.

    >>> bilinear(in1_features=20, in2_features=30, out_features=40, rows=128).params
    24040
    """
    leading = as_shape(rows)
    require(in1_features=in1_features, in2_features=in2_features, out_features=out_features, rows=leading)
    count = prod(leading)
    weights = in1_features * in2_features * out_features
    outputs = count * out_features
    biases = out_features if bias else 0
    return LayerCost(
        kind="linear",
        output_shape=(*leading, out_features),
        read=count * (in1_features + in2_features) + weights + biases,
        written=outputs,
        work=on_numbers(
            Work(macs=count * out_features * in2_features * (in1_features + 1), adds=outputs if bias else 0),
            complex_valued=complex_valued,
        ),
        params=weights + biases,
        activations=outputs,
        gradient=partial(_bilinear_backward, leading, in1_features, in2_features, out_features, bias, complex_valued),
        # The bias is added by a kernel of its own.
        when_trained=partial(always, Extra(read=outputs, written=outputs)) if bias else None,
    )


def _bilinear_backward(
    leading: tuple[Count, ...],
    n1: Count,
    n2: Count,
    out: Count,
    has_bias: bool,
    complex_valued: bool,
    needs: Needs,
) -> BackwardCost:
    rows = prod(leading)
    x1, x2, g, w = rows * n1, rows * n2, rows * out, n1 * n2 * out
    kept1, kept2 = Saved("input 0", x1), Saved("input 1", x2)
    macs = Work(macs=rows * w)
    cost = BackwardCost()
    if needs.input(0):
        work = macs + Work(multiplies=rows * w, adds=x1 * (out - 1))
        cost += BackwardCost(read=g + w + x2, written=x1, work=work, saved=(kept2,))
    if needs.weight:
        work = macs + Work(multiplies=x1 * out)
        cost += BackwardCost(read=x1 + g + x2, written=w, work=work, saved=(kept1, kept2))
    if needs.input(1):
        work = macs + Work(multiplies=x2 * out, adds=x2 * (out - 1))
        cost += BackwardCost(read=x1 + w + g, written=x2, work=work, saved=(kept1,))
    if has_bias and needs.bias and leading:  # of a bare vector, what arrives is the bias's gradient as it is
        cost += BackwardCost(read=g, written=out, work=Work(adds=g - out))
    return replace(cost, work=on_numbers(cost.work, complex_valued=complex_valued))


@public
def matmul(
    *, m: Count, n: Count, k: Count, batch: Count = (), added: Count = 0, complex_valued: bool = False
) -> LayerCost:
    """A (batched) matrix product (m, k) (k, n); ``added`` is how many elements a tensor added to it has (baddbmm).

    macs = batch m n k
    flops = 2 macs + batch m n if something is added; complex-valued: each mac is 4, each add 2
    memory_access = batch (m k + k n + m n) + added
    backward, with g the gradient of y: as many macs each for g b^T (of a) and a^T g (of b); of what is added, where it
    has fewer elements than y, the sum: batch m n - added adds
    saved: b for the gradient of a, a for that of b

    Shapes: a (*batch, m, k), b (*batch, k, n), y (*batch, m, n).
    Source: the definition.

    >>> matmul(m=197, n=197, k=64, batch=12).macs                                            # ViT-B/16, q k^T
    29805312
    """
    leading = as_shape(batch)
    require(m=m, n=n, k=k, batch=leading)
    count = prod(leading)
    outputs = count * m * n
    return LayerCost(
        kind="matmul",
        output_shape=(*leading, m, n),
        read=count * (m * k + k * n) + added,
        written=outputs,
        work=on_numbers(
            Work(macs=outputs * k, adds=0 if isinstance(added, int) and added == 0 else outputs),
            complex_valued=complex_valued,
        ),
        activations=outputs,
        gradient=partial(_matmul_backward, count * m * k, count * k * n, outputs, k, added, complex_valued),
    )


def _matmul_backward(
    a: Count, b: Count, y: Count, k: Count, added: Count, complex_valued: bool, needs: Needs
) -> BackwardCost:
    cost = BackwardCost()
    product = on_numbers(Work(macs=y * k), complex_valued=complex_valued)
    if needs.input(0):
        cost += BackwardCost(read=y + b, written=a, work=product, saved=(Saved("input 1", b),))
    if needs.input(1):
        cost += BackwardCost(read=a + y, written=b, work=product, saved=(Saved("input 0", a),))
    if not (isinstance(added, int) and added == 0) and needs.input(2):
        summed = lesser(y - added, 1)  # 0 where what is added has the shape of y
        adds = on_numbers(Work(adds=y - added), complex_valued=complex_valued)
        cost += BackwardCost(read=summed * y, written=summed * added, work=adds)
    return cost
