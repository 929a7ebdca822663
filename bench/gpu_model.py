"""GLOW in plain PyTorch, written to be as fast as PyTorch allows: the peer that the CUDA backend is
measured against. The model of configs/bench-*.cfg: per level squeeze, K times (actnorm, invertible
1x1 convolution, affine coupling), and half of the channels leave to a learned prior.

The same numbers as the engine's, up to rounding (gpu_verify.py shows it): parameters have its names
and shapes, but for those of actnorms and 1x1 convolutions, which stand together for a whole level,
(K,...), so that K small products are one batched product. What is done for speed:
  actnorm is folded into the 1x1 convolution, y = (W diag(e^s)) x + W diag(e^s) b, a convolution
    with a bias; W = P (L + I) (U + diag(sign e^log_s)) for all steps of a level at once
  the extra channel that is 1 on the padding goes in with the input where that is narrower than the
    output; else it is a map (1,C,H,W), added with the bias
  fold: log-scales of the network are multiplied into its weights; else a compiler is to fuse them
  autocast covers the networks, flow tensors stay f32, as they do in the engine
"""
import contextlib
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from peer import SIZES, Size

SIZES = {**SIZES, "openai64": Size(64, 3, 4, 32, 512, 16)}
LOGSCALE = 3.0  # of actnorms, networks and priors
LOG_2PI = math.log(2 * math.pi)


def scaled(t, logs):
    """t times e^(3 logs) along the first axis."""
    return t * torch.exp(LOGSCALE * logs).reshape(-1, *[1] * (t.ndim - 1))


def border(height, width, like):
    """(1,1,H+2,W+2): 1 on the padding, 0 inside."""
    return F.pad(like.new_zeros(1, 1, height, width), (1, 1, 1, 1), value=1.0)


def convolve(x, w, b):
    """A 3x3 convolution that keeps the size and whose last input channel is 1 on the padding."""
    edge = border(x.shape[2], x.shape[3], x)
    if w.shape[1] <= w.shape[0]:
        padded = F.pad(x, (1, 1, 1, 1))
        padded = torch.cat([padded, edge.expand(len(x), -1, -1, -1)], 1)
        return F.conv2d(padded, w, b)
    return F.conv2d(x, w[:, :-1], padding=1) + F.conv2d(edge, w[:, -1:], b)


def convolve_scaled(x, w, b, logs, fold, kernel=convolve):
    """(conv(x, w) + b) e^(3 logs)"""
    if fold:
        return kernel(x, scaled(w, logs), scaled(b, logs))
    return kernel(x, w, b) * torch.exp(LOGSCALE * logs).reshape(1, -1, 1, 1)


class Settings:
    """How the model is computed; none changes what."""

    def __init__(self, bf16=False, channels_last=False, fold=False, recompute=False):
        self.bf16, self.fold, self.recompute = bf16, fold, recompute
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def autocast(self, x):
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(x.device.type, dtype=torch.bfloat16)


class Coupling(nn.Module):
    """One step of flow, its actnorm and 1x1 convolution given as w (C,C,1,1) and bias (C)."""

    def __init__(self, channels, width, settings):
        super().__init__()
        inside, out = channels // 2, 2 * (channels - channels // 2)
        self.settings = settings
        self.w1 = nn.Parameter(0.05 * torch.randn(width, inside + 1, 3, 3))
        self.w2 = nn.Parameter(0.05 * torch.randn(width, width, 1, 1))
        self.w3 = nn.Parameter(torch.zeros(out, width + 1, 3, 3))
        for i, n in enumerate((width, width, out), 1):
            self.register_parameter(f"b{i}", nn.Parameter(torch.zeros(n)))
            self.register_parameter(f"logs{i}", nn.Parameter(torch.zeros(n)))

    def network(self, x):
        """Shift t and a of the scale sigmoid(a + 2), each (N,C/2,H,W)."""
        fold = self.settings.fold
        with self.settings.autocast(x):
            h = F.relu(convolve_scaled(x, self.w1, self.b1, self.logs1, fold))
            h = F.relu(convolve_scaled(h, self.w2, self.b2, self.logs2, fold, F.conv2d))
            h = convolve_scaled(h, self.w3, self.b3, self.logs3, fold)
        return h[:, 0::2].to(x.dtype), h[:, 1::2].to(x.dtype) + 2

    def forward(self, x, w, bias):
        kept, moved = F.conv2d(x, w, bias).chunk(2, 1)
        t, a = self.network(kept)
        y = torch.cat([kept, (moved + t) * torch.sigmoid(a)], 1)
        return y, F.logsigmoid(a).sum((1, 2, 3))

    def inverse(self, y, w, bias):
        """w, bias: of the inverse 1x1 convolution and actnorm."""
        kept, moved = y.chunk(2, 1)
        t, a = self.network(kept)
        return F.conv2d(torch.cat([kept, moved / torch.sigmoid(a) - t], 1), w, bias)


class Prior(nn.Module):
    """Normal numbers (N,C,H,W) whose mean and log-deviation come from the half that stays, or, with
    no condition, are a number per channel."""

    def __init__(self, channels, condition, settings):
        super().__init__()
        self.settings = settings
        self.b = nn.Parameter(torch.zeros(2 * channels))
        self.logs = nn.Parameter(torch.zeros(2 * channels))
        self.w = nn.Parameter(torch.zeros(2 * channels, condition + 1, 3, 3)) if condition else None

    def moments(self, condition):
        if self.w is None:
            h = scaled(self.b, self.logs).reshape(1, -1, 1, 1)
        else:
            with self.settings.autocast(condition):
                h = convolve_scaled(condition, self.w, self.b, self.logs, self.settings.fold)
            h = h.to(condition.dtype)
        return h[:, 0::2], h[:, 1::2]

    def standardise(self, z, condition):
        """The noise that z stands for, and log p(z), (N)."""
        mean, logs = self.moments(condition)
        noise = (z - mean) * torch.exp(-logs)
        return noise, -(0.5 * (noise.square() + LOG_2PI) + logs).sum((1, 2, 3))

    def restore(self, noise, condition):
        mean, logs = self.moments(condition)
        return mean + noise * torch.exp(logs)


class Level(nn.Module):
    def __init__(self, channels, positions, size, last, settings):
        super().__init__()
        self.settings, self.positions = settings, positions
        k, c = size.steps, channels
        rotation = torch.linalg.qr(torch.randn(k, c, c, dtype=torch.float64))[0]
        pivots, lower, upper = torch.linalg.lu(rotation)
        diagonal = torch.diagonal(upper, dim1=-2, dim2=-1)
        self.b = nn.Parameter(torch.zeros(k, c, 1, 1))
        self.logs = nn.Parameter(torch.zeros(k, c, 1, 1))
        self.lu = nn.Parameter((torch.tril(lower, -1) + torch.triu(upper, 1)).float())
        self.log_s = nn.Parameter(diagonal.abs().log().float())
        self.register_buffer("sign", diagonal.sign().float())
        # Row perm[i] of W is row i of the product: where the column i of P has its 1.
        self.register_buffer("perm", pivots.argmax(-2))
        self.steps = nn.ModuleList(Coupling(c, size.width, settings) for _ in range(k))
        self.prior = None if last else Prior(c // 2, c - c // 2, settings)

    def matrices(self):
        """Actnorms and 1x1 convolutions as (K,C,C) and (K,C), and their logdet together."""
        one = torch.eye(self.lu.shape[-1], dtype=self.lu.dtype, device=self.lu.device)
        upper = torch.triu(self.lu, 1) + torch.diag_embed(self.sign * torch.exp(self.log_s))
        product = torch.bmm(torch.tril(self.lu, -1) + one, upper)
        rows = torch.argsort(self.perm, -1)  # row r of W is row rows[r] of the product
        w = torch.gather(product, 1, rows[:, :, None].expand_as(product))
        scale = torch.exp(LOGSCALE * self.logs).reshape(len(w), 1, -1)
        w = w * scale
        bias = torch.bmm(w, self.b.reshape(len(w), -1, 1)).squeeze(-1)
        logdet = self.positions * (self.log_s.sum() + LOGSCALE * self.logs.sum())
        return w, bias, logdet

    def squeeze(self, x):
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)  # n dy dx c y x
        x = x.reshape(n, 4 * c, h // 2, w // 2)
        return x.contiguous(memory_format=self.settings.memory_format)

    @staticmethod
    def unsqueeze(x):
        n, c, h, w = x.shape
        x = x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, c // 4, 2 * h, 2 * w)

    def forward(self, x):
        w, bias, logdet = self.matrices()
        x = self.squeeze(x)
        for k, step in enumerate(self.steps):
            arguments = (x, w[k, :, :, None, None], bias[k])
            if self.settings.recompute and self.training:
                x, more = checkpoint(step, *arguments, use_reentrant=False,
                                     preserve_rng_state=False)
            else:
                x, more = step(*arguments)
            logdet = logdet + more
        return x, logdet

    def prepare_inverse(self):
        """The inverse 1x1 convolutions, once for all samples: x = e^-s W^-1 y - b."""
        w = self.matrices()[0].double()
        self.inverses = torch.linalg.inv(w).to(self.lu.dtype)[:, :, :, None, None].contiguous()
        self.inverse_bias = -self.b.detach().reshape(len(w), -1)

    def inverse(self, y):
        for k in reversed(range(len(self.steps))):
            y = self.steps[k].inverse(y, self.inverses[k], self.inverse_bias[k])
        return self.unsqueeze(y)


class Glow(nn.Module):
    def __init__(self, size, settings):
        super().__init__()
        self.size, self.settings = size, settings
        shapes = list(size.shapes())
        self.levels = nn.ModuleList(
            Level(c, side * side, size, i == len(shapes) - 1, settings)
            for i, (c, side) in enumerate(shapes))
        channels, _ = shapes[-1]
        self.y = Prior(channels, 0, settings)
        # Of each latent, without the batch.
        self.latents = [(c // 2, side, side) for c, side in shapes[:-1]] + [
            (channels, shapes[-1][1], shapes[-1][1])]

    def dimensions(self):
        return self.size.channels * self.size.side**2

    def encode(self, x):
        """Latents as standard normal noise, and the log-likelihood (N) of dequantised images."""
        noise, total = [], -self.dimensions() * math.log(256)
        for level in self.levels:
            x, logdet = level(x)
            total = total + logdet
            if level.prior:
                z, x = x.chunk(2, 1)
                e, logp = level.prior.standardise(z, x)
                noise.append(e)
                total = total + logp
        e, logp = self.y.standardise(x, None)
        return noise + [e], total + logp

    def forward(self, x):
        """Bits per dimension, the mean over the batch."""
        return -self.encode(x)[1].mean() / (self.dimensions() * math.log(2))

    def prepare_inverse(self):
        with torch.no_grad():
            for level in self.levels:
                level.prepare_inverse()

    def decode(self, noise):
        """Images in [0,1] from the noise of each latent, already times the temperature."""
        x = self.y.restore(noise[-1], None)
        for level, e in zip(reversed(self.levels), reversed([*noise[:-1], None])):
            if level.prior:
                x = torch.cat([level.prior.restore(e, x), x], 1)
            x = x.contiguous(memory_format=self.settings.memory_format)
            x = level.inverse(x)
        return torch.floor((x + 0.5) * 256).clamp(0, 255) / 255


def dequantise(bytes_, u=None):
    """(k + u)/256 - 1/2, u uniform in [0,1)."""
    u = torch.rand_like(bytes_, dtype=torch.float32) if u is None else u
    return (bytes_ + u) / 256 - 0.5


# ---------------------------------------------------------------- the engine's parameters

# Of a level's parameters, what the checkpoint's belong to.
STACKED = {"b": "actnorm.b", "logs": "actnorm.logs", "lu": "invconv.lu", "log_s": "invconv.log_s",
           "sign": "invconv.sign", "perm": "invconv.perm"}


def level_path(model, i):
    return "top" if i == len(model.levels) - 1 else f"level.{i}"


def names(model):
    """(tensor of the model, (name in a checkpoint, ...)): several names are stacked in it."""
    for i, level in enumerate(model.levels):
        path = level_path(model, i)
        own = {**dict(level.named_parameters(recurse=False)),
               **dict(level.named_buffers(recurse=False))}
        for key, name in STACKED.items():
            yield own[key], [f"{path}.step.{k}.{name}" for k in range(len(level.steps))]
        for k, step in enumerate(level.steps):
            for key, tensor in step.named_parameters(recurse=False):
                yield tensor, [f"{path}.step.{k}.affine.net.{key}"]
        if level.prior:
            for key, tensor in level.prior.named_parameters(recurse=False):
                yield tensor, [f"{path}.factor_out.prior.{key}"]
    for key, tensor in model.y.named_parameters(recurse=False):
        yield tensor, [f"y.{key}"]


def load(model, tensors):
    """The parameters of a checkpoint, a dict of NumPy's arrays. Every one has its place."""
    left = set(tensors)
    for tensor, wanted in names(model):
        parts = [torch.from_numpy(tensors[name].copy()) for name in wanted]
        value = torch.stack(parts) if len(parts) > 1 or tensor.ndim > parts[0].ndim else parts[0]
        if value.shape != tensor.shape:
            raise ValueError(f"{wanted[0]}: {tuple(value.shape)}, not {tuple(tensor.shape)}")
        left -= set(wanted)
        with torch.no_grad():
            tensor.copy_(value)
    if left:
        raise ValueError(f"of the checkpoint, the model lacks {sorted(left)[:3]}")
