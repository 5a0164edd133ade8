"""Backward passes of attention: of the scaled dot product, and of the multi-head layer around it."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel.formulas._arguments import exact_quotient, is_one
from costmodel.formulas.gradient import NOTHING, BackwardCost, Needs, Saved
from costmodel.formulas.products import linear
from costmodel.quantities import Count, Work
from costmodel.records import dataclass


def computing_again(
    rows: Count, keys: Count, depth: Count, width: Count, of_keys: Count, mask: str | None, masked: Count, needs: Needs
) -> BackwardCost:
    """By one kernel, for all three inputs, whichever is asked for. A bool mask has been made float."""
    if not any(needs.input(i) for i in range(3)):
        return NOTHING
    scores, q, y = rows * keys, rows * depth, rows * width
    k, v = of_keys * depth, of_keys * width
    named = ("input 3" if mask == "float" else "mask",)
    return BackwardCost(
        read=2 * y + q + k + v + rows + masked,
        written=q + k + v,
        work=Work(
            macs=scores * (3 * depth + 2 * width),
            # of each score its scale, dP - D, and two products; the mask's sum; of each row D
            multiplies=3 * scores + y,
            adds=2 * scores + (0 if mask is None else scores) + y - rows,
            transcendentals=scores,
        ),
        saved=(
            Saved("input 0", q), Saved("input 1", k), Saved("input 2", v), Saved("output", y),
            Saved("logarithms of sums", rows), *(Saved(name, masked) for name in named if mask is not None),
        ),
    )  # fmt: skip


def keeping_weights(
    rows: Count, keys: Count, depth: Count, width: Count, of_keys: Count, dropped: bool, scaled: str, needs: Needs
) -> BackwardCost:
    """Product by product, no heads sharing keys; ``scaled``: queries alone, or both, each by the root of the scale."""
    of_q, of_k, of_v = (needs.input(i) for i in range(3))
    scores, q, k, v, y = rows * keys, rows * depth, of_keys * depth, of_keys * width, rows * width
    cost = NOTHING
    if of_v:
        kept = Saved("weights after dropout" if dropped else "weights", scores)
        cost += BackwardCost(read=scores + y, written=v, work=Work(macs=scores * width), saved=(kept,))
    if not (of_q or of_k):
        return cost
    cost += BackwardCost(read=y + v, written=scores, work=Work(macs=scores * width), saved=(Saved("input 2", v),))
    if dropped:
        mask = Saved("dropout", scores)
        cost += BackwardCost(read=2 * scores, written=scores, work=Work(multiplies=scores), saved=(mask,))
    slopes = Work(multiplies=2 * scores, adds=2 * scores - rows)
    cost += BackwardCost(read=2 * scores, written=scores, work=slopes, saved=(Saved("weights", scores),))
    product = Work(macs=scores * depth)
    if of_k:
        cost += BackwardCost(read=scores + q, written=k, work=product, saved=(Saved("scaled queries", q),))
        cost += _times_scale(k) if scaled == "both" else NOTHING
    if of_q:
        kept = Saved("scaled keys" if scaled == "both" else "input 1", k)
        cost += BackwardCost(read=scores + k, written=q, work=product, saved=(kept,)) + _times_scale(q)
    return cost


def _times_scale(elements: Count) -> BackwardCost:
    return BackwardCost(read=elements, written=elements, work=Work(multiplies=elements))


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiHead:
    """The hyper-parameters that multi-head attention's backward pass depends on; called with the needs, its cost."""

    embed_dim: Count
    heads: Count
    queries: Count
    keys: Count
    batch: Count
    inputs: str
    """``"self"``, ``"shared_key_value"`` or ``"distinct"``."""
    widths: tuple[Count, Count]
    """Of the inputs that keys and values are made of."""
    packed: bool
    """Whether the weights of all projections are one parameter."""
    bias: bool
    batch_first: bool
    transposed: tuple[bool, ...]
    """Whether each of the inputs lies in memory in another order than it is worked on."""
    is_product: bool
    """Whether the weights are a result of their own (``need_weights``)."""
    dropped: bool
    mask: str | None
    mask_elements: Count
    copied_back: bool
    bias_kv: bool
    zeros: bool

    def __call__(self, needs: Needs) -> BackwardCost:
        """From the output's gradient to what is asked for."""
        learnt = needs.weight or (needs.bias and self.bias)
        of = self._of_inputs(needs)
        flows = learnt or any(of)
        if not flows:
            return NOTHING
        rows, e = self.queries * self.batch, self.embed_dim
        cost = NOTHING
        if self.batch_first and not (needs.lies_as_output or is_one(batch=self.batch) or is_one(length=self.queries)):
            cost += _copy(rows * e)
        out = linear(in_features=e, out_features=e, bias=self.bias, rows=rows)
        out_needs = Needs(inputs=learnt or any(of), weight=needs.weight, bias=needs.bias)
        assert out.gradient is not None
        cost += _named(out.gradient(out_needs), "attended")
        return cost + self._core(tuple(learnt or wanted for wanted in of)) + self._projections(needs, of)

    def _of_inputs(self, needs: Needs) -> tuple[bool, bool, bool]:
        if self.inputs == "self":
            return (needs.any_input,) * 3
        if isinstance(needs.inputs, bool):
            return (needs.inputs,) * 3
        first, *others = needs.inputs
        if self.inputs == "shared_key_value":
            return first, any(others), any(others)
        return first, others[0], others[1]

    @property
    def _is_fused(self) -> bool:
        return not (self.is_product or self.dropped)

    @property
    def _all_keys(self) -> Count:
        return self.keys + int(self.bias_kv) + int(self.zeros)

    def _core(self, flows: tuple[bool, ...]) -> BackwardCost:
        """From what is attended to queries, keys and values as they were projected."""
        e, n, heads = self.embed_dim, self.batch, self.heads
        depth, keys, groups = exact_quotient(e, heads), self._all_keys, n * heads
        q, k = n * self.queries * e, n * keys * e
        needs = Needs(inputs=flows)
        fused = self._is_fused
        if fused:
            cost = computing_again(
                groups * self.queries, keys, depth, depth, groups * keys, self.mask, self.mask_elements, needs
            )
            kept = [Saved("logarithms of sums", groups * self.queries), Saved("attended", q)]
            if self.copied_back:
                kept.append(Saved("output by heads", q))
            if self.mask is not None:
                kept.append(Saved("mask", self.mask_elements))
        else:
            scaled = "queries" if self.is_product else "both"
            cost = keeping_weights(
                groups * self.queries, keys, depth, depth, groups * keys, self.dropped, scaled, needs
            )
            kept = [s for s in cost.saved if not s.tensor.startswith("input")]
        kept += self._projected(flows, fused=fused)
        cost = BackwardCost(read=cost.read, written=cost.written, work=cost.work, saved=tuple(kept))
        single = is_one(heads=heads)
        for index, (length, size) in enumerate(((self.queries, q), (keys, k), (keys, k))):
            if not flows[index]:
                continue
            if fused:
                # The kernel stores gradients token by token, and not head by head.
                apart = not (single or is_one(batch=n) or is_one(length=length))
                cost += _copy(size) if apart else NOTHING
            else:
                apart = not (single or is_one(length=length)) and index != 1  # those of keys are stored transposed
            if apart and not is_one(depth=depth):
                cost += _copy(size if index == 0 else n * (self.keys + int(self.bias_kv)) * e)
        return cost

    def _projected(self, flows: tuple[bool, ...], *, fused: bool) -> Iterator[Saved]:
        """What of the projections is kept: all of a storage of which one part is used."""
        e, n = self.embed_dim, self.batch
        q, k, longer = n * self.queries * e, n * self.keys * e, n * self._all_keys * e
        queries, keys, values = fused, fused or (self.is_product and flows[0]), fused or flows[0] or flows[1]
        if self.bias_kv or self.zeros:
            names = (("keys", keys), ("values", values))
            yield from (Saved(f"{name} and those behind them", longer) for name, used in names if used)
            keys = values = False
        if self.inputs == "self":
            packed = [("queries, keys and values", 3 * q, queries or keys or values)]
        elif self.inputs == "shared_key_value":
            packed = [("queries", q, queries), ("keys and values", 2 * k, keys or values)]
        else:
            packed = [("queries", q, queries), ("keys", k, keys), ("values", k, values)]
        yield from (Saved(name, size) for name, size, used in packed if used)

    def _projections(self, needs: Needs, of: tuple[bool, bool, bool]) -> BackwardCost:
        e, n = self.embed_dim, self.batch
        plans = {
            "self": [(e, 3, self.queries, 0)],
            "shared_key_value": [(e, 1, self.queries, 0), (e, 2, self.keys, 1)],
            "distinct": [(e, 1, self.queries, 0), (self.widths[0], 1, self.keys, 1), (self.widths[1], 1, self.keys, 2)],
        }
        cost, parts, fused = NOTHING, plans[self.inputs], self._is_fused
        learnt = needs.weight or (needs.bias and self.bias)
        if self.bias_kv and needs.weight and not is_one(batch=n):
            summed = BackwardCost(read=n * e, written=e, work=Work(adds=(n - 1) * e))
            cost += summed.times(2)
        by_token = not (is_one(heads=self.heads) or is_one(depth=exact_quotient(e, self.heads)))
        for width, packed, length, index in parts:
            if not (learnt or of[index]):
                continue
            rows = length * n
            turned = self.transposed[index]
            if packed > 1:
                # Each part's gradient is put into zeros of the size of all, and those are added up.
                cost += BackwardCost(read=rows * e, written=packed * rows * e).times(packed)
                cost += NOTHING if is_one(batch=n) and is_one(length=length) else _copy(packed * rows * e)
            elif not (by_token and (fused or index != 1)) and (needs.weight or not turned):
                # A gradient that lies in memory in another order is copied, for products of all rows at once.
                cost += NOTHING if is_one(batch=n) or is_one(length=length) else _copy(rows * e)
            layer = linear(in_features=width, out_features=packed * e, bias=self.bias, rows=rows)
            assert layer.gradient is not None
            own = layer.gradient(Needs(inputs=of[index], weight=needs.weight, bias=needs.bias))
            cost += _named(own, f"copy of input {index}" if turned else f"input {index}")
        if len(parts) > 1:
            # The gradients of parts of a parameter are joined.
            cost += _copy(3 * e * e) if self.packed and needs.weight else NOTHING
            cost += _copy(3 * e) if self.bias and needs.bias else NOTHING
        return cost


def _copy(elements: Count) -> BackwardCost:
    return BackwardCost(read=elements, written=elements)


def _named(cost: BackwardCost, name: str) -> BackwardCost:
    """What a linear layer keeps of its input, by another name."""
    saved = tuple(Saved(name, s.elements) for s in cost.saved)
    return BackwardCost(read=cost.read, written=cost.written, work=cost.work, saved=saved)
