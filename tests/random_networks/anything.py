"""Steps on any tensor: functions, views, writing in place, branches, other dtypes. Source that rebinds ``x``."""

from __future__ import annotations

from tests.random_networks.draft import Draft, Maker

_MODULES = (
    "nn.ReLU()", "nn.ReLU(inplace=True)", "nn.LeakyReLU(0.1)", "nn.ELU()", "nn.SELU(inplace=True)", "nn.GELU()",
    "nn.SiLU(inplace=True)", "nn.Mish()", "nn.Hardtanh()", "nn.Hardswish()", "nn.Softplus()", "nn.Softsign()",
    "nn.Tanh()", "nn.Sigmoid()", "nn.LogSigmoid()", "nn.Tanhshrink()", "nn.Softmax(-1)", "nn.LogSoftmax(-1)",
    "nn.PReLU()", "nn.RReLU()", "nn.CELU()", "nn.Threshold(0.1, 0.5)", "nn.Dropout(0.3)",
    "nn.Dropout(0.3, inplace=True)", "nn.AlphaDropout(0.2)", "nn.Dropout1d()", "nn.Dropout2d()", "nn.Identity()",
    "nn.Softmin(1)", "nn.Hardshrink()", "nn.GLU(1)", "nn.Flatten()", "nn.Flatten(0, 1)", "nn.CosineSimilarity(1)",
)  # fmt: skip

_FUNCTIONS = (
    "x = x * 2", "x = 1 - x", "x = x / 3", "x = x + 1", "x = x.abs().sqrt()", "x = x.square()", "x = x ** 2",
    "x = 2 ** x", "x = x.exp().clamp(max=4)", "x = (x.abs() + 1).log()", "x = x.sigmoid() * x", "x = x.neg()",
    "x = torch.where(x > 0, x, x * 0.1)", "x = torch.where(x > 0, x, 0.0)", "x = torch.maximum(x, -x)",
    "x = torch.clamp(x, -1, 1)", "x = x.masked_fill(x > 0, 0)", "x = x * (x > 0)", "x = x.lerp(x.flip(-1), 0.3)",
    "x = torch.addcmul(x, x, x, value=0.1)", "x = x.erf()", "x = x.round()", "x = x // 1", "x = x % 2",
    "x = x - x.mean()", "x = x / x.norm()", "x = F.normalize(x, dim=-1)", "x = x - x.amax(-1, keepdim=True)",
    "x = x.softmax(-1)", "x = x.log_softmax(0)", "x = x.cumsum(-1)", "x = x.sort(-1)[0]", "x = x.topk(1, -1)[0]",
    "x = x.sum(-1, keepdim=True)", "x = x.var(-1, keepdim=True)", "x = x.std(0, keepdim=True)", "x = x.mean((0, 1))",
    "x = x.max(-1)[0]", "x = x.logsumexp(-1, keepdim=True)", "x = x.prod(-1, keepdim=True)", "x = x.min(0)[0]",
    "x = x.median(-1, keepdim=True)[0]", "x = x.gather(-1, x.argsort(-1))", "x = x.sum()[None, None]",
    "x = x.index_select(0, torch.arange(x.shape[0]))", "x = x[..., torch.tensor([0, 0])]",
    "x = x.count_nonzero(-1) * 0.5", "x = x.any(-1, keepdim=True) * x", "x = torch.rand_like(x) * x",
    "x = x + torch.randn(x.shape[-1])", "x = x + torch.tensor(0.5)", "x = x * torch.tensor([2.0])",
    "x = x + torch.ones_like(x)", "x = x.nan_to_num()", "x = x + torch.linspace(0, 1, x.shape[-1])",
    "x = x * torch.full((1,), 0.5, dtype=x.dtype)", "x = x.renorm(2, 0, 1.0)",
    "x = torch.outer(x.flatten(), x.flatten()[:4])", "x = x.diff(dim=-1)", "x = torch.stack([x, x], 1).sum(1)",
    "x = x.argmax(-1, keepdim=True) * x", "x = F.one_hot((x > 0).long(), 2).to(x.dtype)", "x = x.sign() * x.abs()",
    "x = torch.fft.rfft(x.contiguous().float()).abs().to(x.dtype)", "x = x.repeat_interleave(2, -1)",
    "x = x.logical_not() + x",
)  # fmt: skip

_VIEWS = (
    "x = x.transpose(-1, -2)", "x = x.transpose(0, 1)", "x = x.flip(-1)", "x = x.roll(1, -1)", "x = x.flatten(1)",
    "x = x.flatten(-2)", "x = x.reshape(x.shape[0], -1)", "x = x.reshape(-1, x.shape[-1])", "x = x.unsqueeze(1)",
    "x = x.squeeze(1)", "x = x.squeeze()", "x = x[..., ::2]", "x = x[:, :1]", "x = x[..., 1:]", "x = x[:, -1]",
    "x = x.expand(2, *x.shape)", "x = x.expand(2, *x.shape[1:])", "x = x.repeat(1, 2, *[1] * (x.dim() - 2))",
    "x = x.contiguous()", "x = x.clone()", "x = x.clone(memory_format=torch.contiguous_format)",
    "x = x.narrow(-1, 0, 1)", "x = x.unfold(-1, 2, 1)", "x = x.movedim(-1, 1)", "x = x.mT.contiguous().mT",
    "x = x.diagonal(0, -1, -2)", "x = x.detach()", "x = x.tile(2)", "x = x.swapaxes(0, -1)",
    "x = x.unflatten(-1, (2, -1))", "x = x.view_as(x)", "x = torch.cat(x.split(1, -1), -1)",
    "x = torch.cat(x.unbind(1), -1)", "x = torch.stack(x.unbind(0), -1)", "x = torch.cat([x, x], -1)",
    "x = torch.cat([x, x[:0]])", "x = x.triu()", "x = x.rot90(1, (-2, -1))", "x = torch.atleast_3d(x)",
    "x = torch.hstack([x, x])", "x = x.select(-1, 0)", "x = x.ravel()[None]",
    "x = x.as_strided(x.shape[:1] + (1,), (x.stride(0), 1))", "x = x.view(x.shape[0], x.shape[1], -1)",
)  # fmt: skip

_WRITES = (
    "x = x.clone()\nx[..., 0] = 0", "x = x.clone()\nx[:, 0] = x[:, -1]", "x = x.clone()\nx[:, :1] += 1",
    "x = x * 1\nx[0] = 1.5", "x = x.clone()\nx[:, ::2].relu_()", "x = x.clone()\nx.mul_(x.sigmoid())",
    "x = x.clone()\nx[..., -1].fill_(2)", "x = x.clone()\nx[torch.arange(1)] = 0", "x = x.clone()\nx[x > 0] = 0",
    "x = x.clone()\nx[:] = 1", "x = x.clone()\nx[..., None][0] = 2", "x = x.clone()\nx[:, 0] = torch.tensor(3.0)",
    "y = torch.zeros_like(x)\ny[:, :1] = x[:, :1]\nx = y", "y = x.new_empty(x.shape)\ny.copy_(x)\nx = y",
    "x = x.clone().zero_()", "y = torch.empty(x.shape, dtype=x.dtype)\ntorch.add(x, 1, out=y)\nx = y",
    "x = x.clone().t_()", "x = x.clone().unsqueeze_(0)", "x.add_(1)", "x.relu_()", "x[..., 0] = 0", "x *= 0.5",
    "x.clamp_(min=0)", "x -= x.mean()", "x = x.contiguous().add_(1)",
    "x = x.clone()\nx.index_add_(0, torch.zeros(1, dtype=torch.long), x[:1])",
    "x = x.clone()\nx.masked_fill_(x > 0, 0.5)",
    "x = x.clone()\nx.scatter_(-1, torch.zeros_like(x, dtype=torch.long), x)", "x.uniform_()",
    "x = x.clone().normal_()", "y = x.clone()\ny.view(-1)[:1] = 0\nx = y", "x = x.clone()\nx[0, 0] = 1",
    "x = x.clone()\nx[..., 0] = x[..., 0] * 2",
)  # fmt: skip


def module(d: Draft) -> str:
    """A layer of no weights."""
    return f"x = {d.module(d.rng.choice(_MODULES))}(x)"


def function(d: Draft) -> str:
    """Arithmetic, reductions, choices."""
    return d.rng.choice(_FUNCTIONS)


def view(d: Draft) -> str:
    """Another shape or layout."""
    return d.rng.choice(_VIEWS)


def permute(d: Draft) -> str:
    """The dimensions in another order."""
    order = list(range(d.x.dim()))
    d.rng.shuffle(order)
    return f"x = x.permute({order})" + d.one_of("", "", ".contiguous()")


def write(d: Draft) -> str:
    """A tensor is written in place, in part or whole: also the input itself."""
    return d.rng.choice(_WRITES)


def dtype(d: Draft) -> str:
    """Another dtype, and sometimes back."""
    to = d.one_of(*("float64", "float32", "bfloat16", "float16", "int32", "bool"))
    return d.one_of(
        f"x = x.to(torch.{to}).to(x.dtype)", f"x = (x.to(torch.{to}) * 2).to(x.dtype)", f"x = x + x.to(torch.{to})",
        "x = x.float()", "x = x.double()", "x = x.type_as(torch.zeros(1))", f"x = torch.cat([x, x.to(torch.{to})], -1)",
    )  # fmt: skip


def save(d: Draft) -> str:
    """``x`` is kept for a branch, itself or what a function makes of it."""
    name = d.one_of("a", "b", "c")
    return d.one_of(
        f"{name} = x", f"{name} = x", f"{name} = F.relu(x)", f"{name} = x * 2", f"{name} = x.transpose(0, 1)"
    )


def join(d: Draft) -> str | None:
    """A branch comes back, by an operation that broadcasts or concatenates; or is let go."""
    if not d.saved:
        return save(d)
    name = d.rng.choice(d.saved)
    return d.one_of(
        f"x = x + {name}", f"x = {name} * x", f"x += {name}", f"x = torch.cat([x, {name}], 1)", f"x = {name}",
        f"x = torch.stack([x, {name}])", f"x = torch.cat([{name}, x], -1)", f"x = x - {name}.mean()", f"{name} = None",
        f"x = torch.where(x > {name}, x, {name})", f"x = torch.add(x, {name}, alpha=2)", f"x = x @ {name}.mT",
        f"x = torch.lerp(x, {name}, 0.5)", f"{name}.copy_(x)", f"x = x * {name}.sigmoid()", f"x, {name} = {name}, x",
    )  # fmt: skip


def again(d: Draft) -> str | None:
    """A module of an earlier step once more: its weights are shared."""
    if not d.known:
        return None
    m = f"self.{d.rng.choice(d.known)}"
    return d.one_of(f"x = {m}(x)", f"x = {m}(x) + x", f"x = {m}({m}(x))", f"x = {m}(x.detach().clone())")


def autocast_block(d: Draft) -> str | None:
    """A block of autocast inside the model, or one that turns it off."""
    m = d.module(f"nn.Linear({d.x.shape[-1]}, 4)" if d.x.dim() else "nn.ReLU()")
    return d.one_of(
        f"with torch.autocast('cpu', torch.bfloat16):\n    x = {m}(x)",
        f"with torch.autocast('cpu', enabled=False):\n    x = {m}(x)",
    )


ANYTHING: list[Maker] = [
    *[module] * 3, *[function] * 4, *[view] * 4, permute, *[write] * 3, dtype, save, *[join] * 3, again, autocast_block,
]  # fmt: skip
