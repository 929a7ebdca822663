"""toy2d.py - learned densities of the plane against those that are known. For each kind of the data set
toy2d: trains configs/toy2d.cfg, plots what it has learned, and compares the log-likelihood of held-out
rows (`glow eval`) with the best that any model can have, E[log p(x)] of densities.py. The witness of
flow.py checks the way there: points that NumPy draws must be as likely under the model read from its
checkpoint, and that density must integrate to 1.

  toy2d.py [--full] [--out DIR] [KIND...]

Without --full only the kinds and budgets of QUICK. DIR keeps the runs and pictures, KIND.png."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

import checkpoint
import densities
import flow

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../configs/toy2d.cfg")
GLOW = os.environ.get("GLOW", "host/glow")
BOUND = 0.05                        # nats
DEPTH, WIDTHS = "model.flow[0].repeat", "model.flow[0].flow[2].net.widths"
QUICK = {"moons": {DEPTH: 12, "train.steps": 2000},
         "pinwheel": {"train.steps": 3000},
         "eight_gaussians": {DEPTH: 48, WIDTHS: "[32, 32]"}}
# Affine couplings are slow to tear a density into parts: these take depth and patience.
FULL = {"moons": {},
        "pinwheel": {},
        "eight_gaussians": QUICK["eight_gaussians"],
        "checkerboard": {DEPTH: 48, "train.steps": 24000, "train.ema": 0.999},
        "rings": {DEPTH: 64, "train.steps": 40000, "train.ema": 0.9995}}
POINTS, SIDE, HALF = 20000, 200, 6.0


def glow(*command):
    return subprocess.run([GLOW, *command], check=True, capture_output=True, text=True).stdout


def witness(file, kind):
    """Of the model in NumPy: the mean of log p(x) - log q(x) over points drawn here, its standard error,
    and the integral of q over a square."""
    saved = checkpoint.Checkpoint(file, average=True)

    def log_q(x):
        return np.concatenate([flow.Flow(saved, range(len(part))).run(part).loglik
                               for part in np.array_split(x, -(-len(x) // 4000))])

    x = densities.draw(kind, POINTS, np.random.default_rng(11))
    excess = np.log(densities.density(kind, x)) - log_q(x)
    cells, area = densities.cells(HALF, SIDE)
    return excess.mean(), excess.std() / np.sqrt(POINTS), np.exp(log_q(cells)).sum() * area


def learn(kind, settings, directory):
    """Trains, measures, prints a line; whether all is as it should be."""
    run = os.path.join(directory, kind)
    settings = {"data.kind": kind, "train.threads": 1, "train.eval_every": 0, **settings}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    glow("train", CONFIG, "--out", run, *overrides)
    found = json.loads(glow("eval", run, "--json", "--threads", "1", "--density", run + ".png"))
    best = densities.mean_log_density(kind)
    excess, deviation, integral = witness(os.path.join(run, "checkpoint.safetensors"), kind)
    with open(os.path.join(run, "log.jsonl")) as log:
        seconds = max(json.loads(line).get("seconds", 0) for line in log)
    wrong = []
    if not abs(best - found["nats"]) <= BOUND:
        wrong.append(f"not within {BOUND} nats")
    if not -3 * deviation <= excess <= BOUND + 3 * deviation:
        wrong.append("the witness's points are not as likely")
    if not abs(integral - 1) <= 0.02:
        wrong.append("no density: its integral is not 1")
    print(f"{kind:16}{best:10.4f}{found['nats']:10.4f}{best - found['nats']:8.4f}"
          f"{excess:9.4f} +- {deviation:.4f}{integral:9.4f}{seconds:8.0f}  {'; '.join(wrong)}", flush=True)
    return not wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="all kinds, trained to the end")
    parser.add_argument("--out", help="directory for runs and pictures")
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    options = parser.parse_args()
    budgets = FULL if options.full or options.kinds else QUICK
    print(f"{'kind':16}{'E log p':>10}{'held out':>10}{'gap':>8}{'the witness: gap':>19}{'integral':>9}"
          f"{'seconds':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        directory = options.out or scratch
        os.makedirs(directory, exist_ok=True)
        good = [learn(kind, budgets[kind], directory) for kind in options.kinds or budgets]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
