"""parity.py - the engine against the independent witness: trains each small model of this directory for
a few steps, so that every parameter leaves its initial value, then has the engine (dump.c, `glow
encode`, `glow score`) and flow.py compute latents, log|det| and log-likelihood of the same rows, noise
included, from the same checkpoint.

  parity.py [-v] [MODEL...]        GLOW and DUMP name the programs; docs/witness.md has more"""
import csv
import os
import subprocess
import sys
import tempfile

import numpy as np

import checkpoint
import densities
import flow

HERE = os.path.dirname(os.path.abspath(__file__))
GLOW, DUMP = os.environ.get("GLOW", "host/glow"), os.environ.get("DUMP", "tests/parity/dump")
MODELS = ("mnist", "openai", "learned", "additive", "plain", "rows", "toy2d")
TOLERANCE = {"fp32": 1e-5, "fp64": 1e-10}       # relative to the largest number of an array
STEPS, TRAIN_ROWS, ROWS, BATCH, PART = 30, 64, 12, 16, 4


def images(n, channels, height, width, rng):
    """Grey values (N,C,H,W): discs on slopes, with whole regions of 0 and of 255."""
    y, x = np.mgrid[:height, :width][:, None, None] / np.array([height, width])[:, None, None, None, None]
    a, b, r, s, t = rng.random((5, n, channels, 1, 1))
    disc = np.hypot(x - a, y - b) < 0.1 + 0.4 * r
    v = 255 * np.where(disc, 1.3 * s, -0.1 + 0.6 * (x * t + y * (1 - t)) + 0.02 * s)
    return np.clip(v + 3 * rng.standard_normal(v.shape), 0, 255).astype(np.uint8)


def rows_of(model, n, rng):
    if model == "toy2d":
        return densities.draw("moons", n, rng)
    if model == "rows":
        z = rng.standard_normal((n, 5))
        return z @ rng.standard_normal((5, 5)) + 0.3 * z[:, :1] ** 2
    return images(n, 3 if model == "openai" else 1, 16, 8 if model == "plain" else 16, rng)


def program(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def train(model, settings, directory):
    """Trains the model in a directory for runs; the checkpoint."""
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    config = os.path.join(HERE, "../../configs" if model == "toy2d" else "", model + ".cfg")
    program(GLOW, "train", config, "--out", directory, *overrides)
    return checkpoint.Checkpoint(os.path.join(directory, "checkpoint.safetensors"))


class Report:
    def __init__(self, verbose):
        self.verbose, self.failed, self.worst = verbose, 0, {}

    def compare(self, model, what, have, want, tolerance, least=1e-300):
        """`least`: what numbers are measured against when all of them are smaller than that."""
        have, want = np.asarray(have, np.float64), np.asarray(want)
        if have.shape != want.shape:
            error = np.inf
        else:
            error = np.max(np.abs(have - want)) / max(np.max(np.abs(want)), least)
        good = error <= tolerance                       # false for NaN
        self.failed += not good
        self.worst[tolerance] = max(self.worst.get(tolerance, 0), error if error == error else np.inf)
        if self.verbose or not good:
            print(f"{'    ' if good else 'BAD '}{model:8} {what:40} {error:.1e}, at most {tolerance:.0e}")


def compare_readers(file):
    """The stock reader and ours find the same."""
    if not checkpoint.safe_open:
        return
    (a, text_a), (b, text_b) = checkpoint.read_stock(file), checkpoint.read_plainly(file)
    assert text_a == text_b and a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


def check_moved(saved):
    """Training has moved every parameter that starts at 0: a test of zeros shows little."""
    for name, tensor in saved.tensors.items():
        if not name.startswith(("optimizer.", "average.")) and not np.any(tensor):
            raise AssertionError(f"{name} is still 0 after {STEPS} steps")


def check_initialisation(report, precision, rng):
    """Without a training step: b = -mean and logs = log(scale / (deviation + 1e-6)) of what arrives, over
    the first batch, here all rows, and positions, layer by layer; within networks divided by the factor
    of log-scales, as openai/glow has it."""
    with tempfile.TemporaryDirectory() as directory:
        x = rng.random((BATCH, 1, 8, 8)) ** 2
        files = [os.path.join(directory, name) for name in ("x.npy", "run")]
        np.save(files[0], x)
        data = {"dataset": "npy", "path": f'"{files[0]}"', "test": f'"{files[0]}"', "batch": BATCH}
        settings = {"train.precision": precision, "train.steps": 0, "train.threads": 1, "sample.n": 1,
                    **{"data." + key: value for key, value in data.items()}}
        saved = train("init", settings, files[1])
    pass_ = flow.Flow(saved, range(BATCH)).run(x)
    for place, arrived in pass_.seen.items():
        path, _, number = place.partition(" ")
        if number == "3":
            continue                                    # starts at 0
        options = saved.options[path]
        each = arrived.swapaxes(0, 1).reshape(arrived.shape[1], -1)
        scale, factor = options.get("scale", options.get("init_scale", 1)), options.get("logscale", 1)
        want = {"b": -each.mean(1), "logs": np.log(scale / (each.std(1) + 1e-6)) / factor}
        for key, value in want.items():
            report.compare(f"init {precision}", f"{place} {key}",
                           saved.tensor(path, key + number).reshape(-1), value,
                           TOLERANCE[precision], least=0.1)     # a mean may be 0


def check_commands(report, name, file, rows, want, tolerance):
    """`glow encode` and `glow score`, which read the moving average where there is one."""
    with tempfile.TemporaryDirectory() as out:
        program(GLOW, "encode", file, rows, "--out", out, "--threads", 1)
        for latent, value in want.latents.items():
            have = np.load(os.path.join(out, latent + ".npy"))
            report.compare(name, "glow encode: " + latent, have, value, tolerance)
    lines = csv.DictReader(program(GLOW, "score", file, rows, "--threads", 1).splitlines())
    have = [float(line["nats"]) for line in lines]
    report.compare(name, "glow score", have, want.loglik, max(tolerance, 1e-6))     # six decimals


def check(report, model, precision, rng):
    tolerance, name = TOLERANCE[precision], f"{model} {precision}"
    with tempfile.TemporaryDirectory() as directory:
        files = [os.path.join(directory, name) for name in ("train.npy", "rows.npy", "run")]
        for file, n in zip(files, (TRAIN_ROWS, ROWS)):
            np.save(file, rows_of(model, n, rng))
        settings = {"train.precision": precision, "train.steps": STEPS, "train.seed": 7, "sample.n": 1,
                    "train.threads": 1, "train.optimizer.lr": 0.01, "data.batch": BATCH}
        if model != "toy2d":                            # which brings its own data
            settings.update({"data.dataset": "npy", "data.path": f'"{files[0]}"'})
        saved = train(model, settings, files[2])
        check_moved(saved)
        compare_readers(saved.file)
        x, file, rows = np.load(files[1]), saved.file, files[1]
        if x.dtype == np.uint8:
            x = x / 255
        for weights in ("raw", "average") if saved.has_average else ("raw",):
            saved.average = weights == "average"
            want = flow.Flow(saved, range(len(x))).run(x)
            out = os.path.join(directory, weights)
            os.mkdir(out)
            program(DUMP, file, rows, PART, weights, out)
            values = {**want.latents, "loglik": want.loglik, "logdet": want.logdet, "logp": want.logp,
                      "bound": want.bound}
            for key, value in values.items():
                have = np.load(os.path.join(out, key + ".npy"))
                report.compare(name, f"{weights}: {key}", have, value, tolerance)
        check_commands(report, name, file, rows, want, tolerance)


def main(arguments):
    verbose = "-v" in arguments
    report = Report(verbose)
    models = [a for a in arguments if a != "-v"] or MODELS
    for model in models:
        for precision in TOLERANCE:
            check(report, model, precision, np.random.default_rng(3))
    for precision in TOLERANCE:
        check_initialisation(report, precision, np.random.default_rng(4))
    for tolerance, error in report.worst.items():
        print(f"largest relative difference {error:.1e} of at most {tolerance:.0e}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
