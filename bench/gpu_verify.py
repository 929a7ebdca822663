"""Shows that the peer of gpu_model.py is the engine's model: both compute the same from the same
checkpoint, in f64 on the CPU. gpu_compare.py --verify runs it for each of its configurations.

`glow train` makes a checkpoint of a few steps, in which every parameter has left its first value.
Compared are the number of trained parameters; log-likelihood and latents of each image, with the
engine's own noise (tests/parity/philox.py); images decoded from the same latents; the loss of one
more training step, every gradient of it (with beta1 = 0 Adam's first moment), and every parameter
behind that step.
"""
import csv
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

import gpu_model

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/parity"))
import checkpoint  # noqa: E402
import philox  # noqa: E402

TOLERANCE = 1e-9  # relative to the largest number of a tensor
STEPS, RATE, BETA2, EPSILON = 3, 1e-4, 0.9, 1e-4


class Different(Exception):
    pass


def glow(*arguments):
    command = [os.environ["GLOW"], *(str(a) for a in arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Different(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def parameters(saved):
    return {k: v for k, v in saved.tensors.items() if not k.startswith(("optimizer.", "average."))}


class Comparison:
    def __init__(self, name):
        self.name, self.worst, self.compared = name, 0.0, 0

    def same(self, what, have, want, tolerance=TOLERANCE):
        have, want = np.asarray(have, np.float64), np.asarray(want, np.float64)
        if have.shape != want.shape:
            raise Different(f"{self.name}: {what}: shapes {have.shape} and {want.shape}")
        error = np.max(np.abs(have - want)) / max(np.max(np.abs(want)), 1e-12)
        if not error <= tolerance:
            raise Different(f"{self.name}: {what} differs by {error:.1e} of its largest number")
        self.worst, self.compared = max(self.worst, error), self.compared + want.size


def train(config, run, rows, batch, steps, resume):
    settings = {"data.dataset": "npy", "data.path": f'"{rows}"', "data.test": f'"{rows}"',
                "data.batch": batch, "data.shuffle": "false", "data.workers": 1,
                "train.precision": '"fp64"', "train.steps": steps, "train.backend": '"cpu"',
                "train.memory_budget": 4096, "train.log_every": 1, "train.eval_every": 0,
                "train.checkpoint_every": 0, "train.sample_every": 0, "train.eval_rows": batch,
                "train.clip_norm": 0, "train.ema": 0, "train.optimizer.lr": RATE,
                "train.optimizer.warmup": 0, "train.optimizer.beta1": 0.0,
                "train.optimizer.beta2": BETA2, "train.optimizer.eps": EPSILON, "sample.n": 1}
    overrides = [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]
    if resume:
        glow("train", run, "--resume", *overrides)
    else:
        glow("train", config, "--out", run, *overrides)
    saved = checkpoint.Checkpoint(os.path.join(run, "checkpoint.safetensors"))
    with open(os.path.join(run, "log.jsonl"), encoding="utf-8") as log:
        lines = [json.loads(line) for line in log]
    return saved, [line["loss"] for line in lines if line["kind"] == "train"][-1]


def noise_of(saved, rows, shape, step):
    """What `quantize` adds, as f64; see gpu_model.dequantise."""
    u = philox.slot_uniform(saved.seed, "quantize", "u", rows, shape, step)
    return torch.from_numpy(np.minimum(u, 1 - 1 / 4096))


def compare_commands(report, model, path, rows, saved, directory):
    """`glow score`, `glow encode`, `glow decode`."""
    images = torch.from_numpy(np.load(rows)).double()
    shape = images.shape[1:]
    with torch.no_grad():
        noise, loglik = model.encode(
            gpu_model.dequantise(images, noise_of(saved, range(len(images)), shape, 0)))
        scores = csv.DictReader(glow("score", path, rows).splitlines())
        report.same("log-likelihood", loglik, [float(s["nats"]) for s in scores], 1e-8)
        glow("encode", path, rows, "--out", directory)
        files = [os.path.join(directory, latent["name"] + ".npy") for latent in saved.latents]
        for file, latent, have in zip(files, saved.latents, noise):
            report.same("latent " + latent["name"], have, np.load(file))
        given = [0.98 * have.numpy() for have in noise]  # images that are not those of the rows
        for file, value in zip(files, given):
            np.save(file, value)
        glow("decode", path, directory, "--npy", os.path.join(directory, "x.npy"))
        model.prepare_inverse()
        have = model.decode([torch.from_numpy(value) for value in given])
        report.same("decoded images", have, np.load(os.path.join(directory, "x.npy")), 1e-6)


def compare_step(report, model, before, after, loss, rows, batch, step):
    """One step of training on the rows of that step, their noise that of rows 0.. of the batch."""
    images = torch.from_numpy(np.load(rows)[step * batch:(step + 1) * batch]).double()
    u = noise_of(before, range(batch), images.shape[1:], step)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.0, BETA2), eps=EPSILON)
    have = model(gpu_model.dequantise(images, u))
    have.backward()
    report.same("loss of a step", have.item(), loss)
    moments = {k: v for k, v in after.tensors.items() if k.startswith("optimizer.moment1.")}
    for tensor, wanted in gpu_model.names(model):
        if not isinstance(tensor, torch.nn.Parameter):
            continue
        if tensor.grad is None:
            raise Different(f"{report.name}: no gradient of {wanted[0]}")
        want = np.stack([moments.pop("optimizer.moment1." + name) for name in wanted])
        report.same("gradient of " + wanted[0], tensor.grad.reshape(want.shape), want)
        second = np.stack([before.tensors["optimizer.moment2." + name] for name in wanted])
        state = optimizer.state[tensor]
        state.update(step=torch.tensor(float(step)), exp_avg=torch.zeros_like(tensor),
                     exp_avg_sq=torch.from_numpy(second).reshape(tensor.shape).clone())
    if moments:
        raise Different(f"{report.name}: gradients that the peer lacks: {sorted(moments)[:3]}")
    optimizer.step()
    for tensor, wanted in gpu_model.names(model):
        want = np.stack([after.tensors[name] for name in wanted])
        report.same(wanted[0] + " after the step", tensor.detach().reshape(want.shape), want)


def verify(name, settings, batch=2):
    """One line about what was compared; raises Different."""
    size, report = gpu_model.SIZES[name], Comparison(name)
    with tempfile.TemporaryDirectory() as directory:
        rows, run = os.path.join(directory, "rows.npy"), os.path.join(directory, "run")
        shape = ((STEPS + 1) * batch, size.channels, size.side, size.side)
        np.save(rows, np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8))
        config = os.path.join(HERE, f"../configs/bench-{name}.cfg")
        before, _ = train(config, run, rows, batch, STEPS, False)
        model = gpu_model.Glow(size, settings).double()
        gpu_model.load(model, parameters(before))
        few = os.path.join(directory, "few.npy")
        np.save(few, np.load(rows)[:3])
        path = os.path.join(run, "checkpoint.safetensors")
        compare_commands(report, model, path, few, before, os.path.join(directory, "latents"))
        after, loss = train(config, run, rows, batch, STEPS + 1, True)
        compare_step(report, model, before, after, loss, rows, batch, STEPS)
    trained = sum(p.numel() for p in model.parameters())
    frozen = sum(b.numel() for b in model.buffers())
    want = sum(v.size for v in parameters(before).values())
    if trained + frozen != want:
        raise Different(f"{name}: {trained} + {frozen} parameters, the engine has {want}")
    return (f"{name}: {trained:,} trained parameters; likelihoods, latents, decoded images, loss, "
            f"gradients and an Adam step agree: {report.compared:,} numbers, at worst "
            f"{report.worst:.1e} of a tensor's largest")
