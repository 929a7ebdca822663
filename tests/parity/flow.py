"""flow.py - the flows of glow in NumPy and float64, written from the papers: from images or rows to
latents, log|det| and log-likelihood. Nothing here is shared with the engine but the formulas.

  Dinh, Krueger, Bengio, "NICE" (2014)                        additive coupling
  Dinh, Sohl-Dickstein, Bengio, "Real NVP" (ICLR 2017)        affine coupling, squeeze, factoring out
  Kingma, Dhariwal, "Glow" (NeurIPS 2018), openai/glow        actnorm, 1x1 convolution, the network
  Theis, van den Oord, Bethge (ICLR 2016)                     dequantisation

Images are (N,C,H,W), rows (N,D); channels are axis 1 of both."""
import numpy as np

import philox


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "silu": lambda x: x * sigmoid(x)}


def per_channel(v, x):
    """(C) so that it broadcasts over (N,C,...)."""
    return v.reshape(-1, *[1] * (x.ndim - 2))


def sum_row(x):
    """(N,...) to (N)."""
    return x.reshape(len(x), -1).sum(1)


def mix_channels(x, w):
    return np.einsum("oc,nc...->no...", w, x)


def convolve(x, w, edge=False):
    """A k x k convolution of stride 1 that keeps the size of the image. With `edge` the images get one
    more channel, which is 1 on the zero padding and 0 inside."""
    k = w.shape[-1]
    pad = ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2))
    height, width = x.shape[2:]
    padded = np.pad(x, pad)
    if edge:
        border = np.pad(np.zeros_like(x[:, :1]), pad, constant_values=1)
        padded = np.concatenate([padded, border], 1)
    return sum(mix_channels(padded[:, :, i:i + height, j:j + width], w[:, :, i, j])
               for i in range(k) for j in range(k))


class Network:
    """The network at `path`: run(x) is what it puts out. `seen` takes what its actnorms see."""

    def __init__(self, checkpoint, path, seen):
        self.path, self.options, self.seen = path, checkpoint.options[path], seen
        self.get = lambda name: checkpoint.tensor(path, name)
        self.run = getattr(self, checkpoint.ids[path])

    def dense(self, x, name):
        return mix_channels(x, self.get(name + ".w")) + per_channel(self.get(name + ".b"), x)

    def conv(self, x, name):
        return convolve(x, self.get(name + ".w")) + per_channel(self.get(name + ".b"), x)

    def mlp(self, x):
        act = ACTIVATIONS[self.options["activation"]]
        for i in range(len(self.options["widths"])):
            x = act(self.dense(x, str(i)))
        return self.dense(x, "last")

    def resnet(self, x):
        act = ACTIVATIONS[self.options["activation"]]
        units = self.options["width"] or self.options["units_factor"] * x.shape[1]
        for i in range(self.options["blocks"]):
            h = self.conv(act(self.conv(x, f"{i}.conv3")), f"{i}.conv1")
            if self.options["skip"]:
                h = h + (x if x.shape[1] == units else act(self.conv(x, f"{i}.skip")))
            x = act(h)
        return self.conv(x, "last")

    def openai(self, x):
        """conv3x3, actnorm, relu, conv1x1, actnorm, relu, conv3x3 with zeros at first; log-scales are
        multiplied by 3 (`logscale`)."""
        for i in (1, 2, 3):
            y = convolve(x, self.get(f"w{i}"), self.options["edge_bias"] and i != 2)
            self.seen[f"{self.path} {i}"] = y
            y = y + per_channel(self.get(f"b{i}"), x)
            if self.options["actnorm"] or i == 3:
                y = y * np.exp(per_channel(self.options["logscale"] * self.get(f"logs{i}"), x))
            x = np.maximum(y, 0) if i < 3 else y
        return x


# ---- priors: mean and log-deviation of a latent, given the half that stays

def prior_moments(checkpoint, path, z, condition):
    options, get = checkpoint.options[path], lambda name: checkpoint.tensor(path, name)
    if checkpoint.ids[path] == "normal":
        if options["form"] == "standard":
            return np.zeros(1), np.zeros(1)
        return get("mean"), get("logs")
    if checkpoint.ids[path] != "learned":
        raise NotImplementedError(checkpoint.ids[path])
    h = per_channel(get("b"), z)[None]
    if condition is not None and z.ndim == 4:
        h = h + convolve(condition, get("w"), options["edge_bias"])
    elif condition is not None:
        h = h + mix_channels(condition, get("w"))
    h = h * np.exp(options["logscale"] * per_channel(get("logs"), z))
    return h[:, 0::2], h[:, 1::2]


# ---- layers

class Flow:
    """One pass over rows: run(x) leaves latents {name: array}, and logdet, logp, bound and loglik,
    (N) each; `seen` holds what arrived at each actnorm, those of networks included, by its path."""

    def __init__(self, checkpoint, rows):
        self.checkpoint, self.rows = checkpoint, np.asarray(rows)
        self.latents, self.seen = {}, {}
        self.logdet, self.logp, self.bound = (np.zeros(len(self.rows)) for _ in range(3))

    def run(self, x):
        self.names = iter(self.checkpoint.latents)
        for layer in self.checkpoint.layers:
            self.path = layer["path"]
            self.options = self.checkpoint.options[self.path]
            if list(x.shape[1:]) != layer["in"]:
                raise ValueError(f"{self.path}: {x.shape[1:]} arrives, not {layer['in']}")
            x = getattr(self, layer["id"])(x)
            if list(x.shape[1:]) != layer["out"]:
                raise ValueError(f"{self.path}: {x.shape[1:]} leaves, not {layer['out']}")
        self.emit(x, None)
        self.loglik = self.logdet + self.logp + self.bound
        return self

    def get(self, name):
        return self.checkpoint.tensor(self.path, name)

    def emit(self, z, condition):
        """z leaves; it is reported as the standard normal noise (z - m)/s that it stands for."""
        latent = next(self.names)
        mean, logs = prior_moments(self.checkpoint, latent["path"], z, condition)
        noise = (z - mean) * np.exp(-logs)
        each = -0.5 * noise ** 2 - logs - 0.5 * np.log(2 * np.pi)
        self.logp = self.logp + sum_row(each)
        self.latents[latent["name"]] = noise

    def uniform(self, x):
        return philox.slot_uniform(self.checkpoint.seed, self.path, "u", self.rows, x.shape[1:])

    def quantize(self, x):
        bits = self.options["bits"]
        bins, values = 2 ** bits, np.rint(255 * x)
        u = np.minimum(self.uniform(x), 1 - 1 / 4096)
        self.bound = self.bound - x[0].size * np.log(bins)
        return (np.floor(values / (256 // bins)) + u) / bins - 0.5

    def logit(self, x):
        a, values = self.options["alpha"], np.rint(255 * x)
        u = np.clip(self.uniform(x), 1 / 1024, 1 - 1 / 1024)
        q = (values + u) / 256 * (1 - a) + a / 2
        rest = (255 - values + (1 - u)) / 256 * (1 - a) + a / 2        # 1 - q
        self.bound = self.bound - x[0].size * np.log(256)
        self.logdet = self.logdet + sum_row(np.log1p(-a) - np.log(q) - np.log(rest))
        return np.log(q / rest)

    def squeeze(self, x):
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)                  # n c y dy x dx
        order = (0, 3, 5, 1, 2, 4) if self.options["order"] == "block" else (0, 1, 3, 5, 2, 4)
        return blocks.transpose(order).reshape(n, 4 * c, h // 2, w // 2)

    def positions(self, x):
        return int(np.prod(x.shape[2:]))

    def actnorm(self, x):
        self.seen[self.path] = x
        b, logs = self.get("b"), self.options["logscale"] * self.get("logs")
        self.logdet = self.logdet + self.positions(x) * logs.sum()
        return (x + per_channel(b, x)) * np.exp(per_channel(logs, x))

    def invconv(self, x):
        if self.options["lu"]:
            lu, log_s, sign = self.get("lu"), self.get("log_s"), self.get("sign")
            lower = np.tril(lu, -1) + np.eye(len(lu))
            upper = np.triu(lu, 1) + np.diag(sign * np.exp(log_s))
            w = np.empty_like(lu)
            w[self.get("perm").astype(int)] = lower @ upper
        else:
            w = self.get("weight")
        self.logdet = self.logdet + self.positions(x) * np.linalg.slogdet(w)[1]
        return mix_channels(x, w)

    def permute(self, x):
        c = x.shape[1]
        order = list(range(c))
        if self.options["mode"] == "reverse":
            return x[:, ::-1]
        for i in range(c - 1, 0, -1):                                   # Fisher-Yates
            u = philox.host_uniform(self.options["seed"] ^ philox.fnv(self.path), i)
            j = int(u * (i + 1))
            order[i], order[j] = order[j], order[i]
        return x[:, order]

    def halves(self, x):
        """The half that the network sees and the half that moves."""
        first, rest = x[:, :x.shape[1] // 2], x[:, x.shape[1] // 2:]
        return (rest, first) if self.options["swap"] else (first, rest)

    def join(self, kept, moved):
        return np.concatenate([moved, kept] if self.options["swap"] else [kept, moved], 1)

    def network(self, x):
        return Network(self.checkpoint, self.path + ".net", self.seen).run(x)

    def affine(self, x):
        kept, moved = self.halves(x)
        out, c = self.network(kept), moved.shape[1]
        if self.options["pairs"] == "interleaved":
            shift, a = out[:, 0::2], out[:, 1::2]
        else:
            shift, a = out[:, :c], out[:, c:]
        if self.options["scale"] == "exp":
            log_scale = np.clip(a, -self.options["clip"], self.options["clip"])
        else:
            log_scale = log_sigmoid(a + 2)
        self.logdet = self.logdet + sum_row(log_scale)
        return self.join(kept, (moved + shift) * np.exp(log_scale))

    def additive(self, x):
        kept, moved = self.halves(x)
        return self.join(kept, moved + self.network(kept))

    def factor_out(self, x):
        first, rest = x[:, :x.shape[1] // 2], x[:, x.shape[1] // 2:]
        kept, z = (first, rest) if self.options["keep"] == "first" else (rest, first)
        self.emit(z, kept)
        return kept
