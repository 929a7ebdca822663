"""Ours beside PyTorch: runs both alternately, each measurement in a fresh process, and prints one
table. compare.sh prepares what this needs, and explains the options.

Rates are medians over a process's steps, then over the rounds. The table counts a row's speed by
the clock on the wall; images per processor second tell the same on a machine that others use, for
one thread. A share of the peak is the multiply-adds that were executed over those that the
processor does at most, as `glow bench` measured it in the same run and for the same number of
threads.
"""
import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from importlib import metadata

import report

HERE = os.path.dirname(os.path.abspath(__file__))
KEEP_FREED_BLOCKS = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
OURS, PEER, STRONG = "glow", "normflows", "normflows, strong"
STORE, RECOMPUTE = "glow, store", "glow, recompute"
MEDIANS = ("start_up_seconds", "start_up_cpu_seconds", "peak_rss_mb", "page_faults_per_step",
           "gflops", "peak_gflops")


def words(choices):
    """An option's type: some of the choices, separated by commas, in their order."""

    def parse(text):
        given = text.split(",")
        odd = [w for w in given if w not in choices]
        if odd:
            raise argparse.ArgumentTypeError(
                f'"{odd[0]}": expected some of {",".join(choices)}, separated by commas'
            )
        return [c for c in choices if c in given]

    return parse


def thread_counts(text):
    counts = text.split(",")
    if not all(c.isdigit() and 1 <= int(c) <= 1024 for c in counts):
        raise argparse.ArgumentTypeError(f'"{text}": expected numbers such as 1,2')
    return [int(c) for c in counts]


def arguments():
    parser = argparse.ArgumentParser(
        prog="compare.sh",
        description="Measure glow and PyTorch (normflows) alternately; print one table.",
        epilog="Environment: GLOW, the program to measure (default host/glow here, or the one on "
        "the PATH); PYTHON, a Python 3 that has torch and normflows (default: a virtual environment "
        "that is made in bench-results/venv with pip, some gigabytes).",
    )
    sizes, modes, precisions = ("s", "m", "c"), ("train", "sample"), ("fp32", "bf16")
    parser.add_argument("--quick", action="store_true", help="one round of a second each: a trial")
    parser.add_argument("--configs", type=words(sizes), default=sizes, metavar="s,m,c")
    parser.add_argument("--threads", type=thread_counts, default=[1, 2], metavar="1,2")
    parser.add_argument("--modes", type=words(modes), default=modes, metavar="train,sample")
    parser.add_argument("--precisions", type=words(precisions), default=precisions,
                        metavar="fp32,bf16")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--seconds", type=float, default=5, help="of a measurement, start-up "
                        "excluded; at least three steps are made. Default 5")
    parser.add_argument("--json", metavar="FILE", default="bench-results/compare.json",
                        help="all measurements and the table, saved after each cell of it; default "
                        "%(default)s")
    parser.add_argument("--table", metavar="FILE", help="measure nothing, print what a file holds")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 1
    if args.rounds < 1 or not args.seconds > 0:
        parser.error("--rounds and --seconds: expected more than 0")
    return args


# ---------------------------------------------------------------- one measurement


class Failed(Exception):
    pass


# A program's peak RSS begins with that of the process which became it: a shell's, not Python's.
BY_SHELL = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]


def run(command, environment, limit=None):
    """The JSON that a command prints. After `limit` seconds it and its children are killed."""
    process = subprocess.Popen(BY_SHELL + command, env={**os.environ, **environment}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)
    try:
        out, err = process.communicate(timeout=limit)
    except BaseException as problem:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(problem, subprocess.TimeoutExpired):
            raise Failed(f"took more than {limit:g} s") from None
        raise
    if process.returncode != 0:
        lines = err.strip().splitlines()
        raise Failed(lines[-1] if lines else f"exit code {process.returncode}")
    return json.loads(out)


def run_ours(cell, precision, policy, seconds):
    size, threads, mode = cell
    command = [os.environ["GLOW"], "bench", f"{HERE}/../configs/bench-{size}.cfg", "--mode", mode,
               "--threads", str(threads), "--seconds", str(max(1, round(seconds))),
               "--set", f'train.precision="{precision}"']
    if policy:
        command += ["--set", f'train.memory="{policy}"']
    return run(command, {})


def run_peer(cell, precision, strong, seconds):
    size, threads, mode = cell
    command = [sys.executable, f"{HERE}/peer.py", size, "--mode", mode, "--threads", str(threads),
               "--seconds", str(seconds)]
    command += ["--bf16"] if precision == "bf16" else []
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
                   "PYTHONWARNINGS": "ignore"}
    if strong:
        command.append("--strong")
        environment.update(KEEP_FREED_BLOCKS)
        if os.environ.get("PRELOAD"):
            environment["LD_PRELOAD"] = os.environ["PRELOAD"]
    return run(command, environment)


def contestants(cell, precision):
    """Who takes part, as (name, function of seconds). Training runs as the configuration says, which
    is to store what its budget holds, and with either policy alone."""
    yield OURS, lambda seconds: run_ours(cell, precision, None, seconds)
    yield PEER, lambda seconds: run_peer(cell, precision, False, seconds)
    if cell[2] == "train":
        yield STORE, lambda seconds: run_ours(cell, precision, "store", seconds)
        yield RECOMPUTE, lambda seconds: run_ours(cell, precision, "recompute", seconds)
    yield STRONG, lambda seconds: run_peer(cell, precision, True, seconds)


# ---------------------------------------------------------------- all of them


def measure_cell(cell, precision, args, notes):
    """Rows of the table for one configuration, thread count, mode and precision."""
    taken, failed = {}, set()
    for _ in range(args.rounds):
        for name, measure in contestants(cell, precision):
            if name in failed:
                continue
            print(f"{cell[0].upper()}, {cell[1]} threads, {cell[2]}, {precision}: {name} ...",
                  file=sys.stderr, flush=True)
            try:
                taken.setdefault(name, []).append(measure(args.seconds))
            except Failed as problem:
                failed.add(name)
                taken.pop(name, None)
                note = f"left out: {name}, {precision}: {problem}"
                if note not in notes:
                    notes.append(note)
    return [summary(cell, precision, name, runs) for name, runs in taken.items()]


def summary(cell, precision, name, runs):
    row = {"config": cell[0], "threads": cell[1], "mode": cell[2], "precision": precision,
           "name": name, "rounds": len(runs)}
    row["images_per_second"] = statistics.median(r["rows_per_second"] for r in runs)
    row["images_per_cpu_second"] = statistics.median(
        1e3 * r["batch"] / r["cpu_ms_per_step"]["median"] for r in runs)
    for key in MEDIANS:
        values = [r[key] for r in runs if r.get(key) is not None]
        if values:
            row[key] = statistics.median(values)
    row["runs"] = runs
    return row


def add_ratios(rows):
    """How often as fast as the peer in the same cell, and each row's share of the peak."""
    for row in rows:
        same = [r for r in rows if all(r[k] == row[k] for k in
                                       ("config", "threads", "mode", "precision"))]
        for key, name in (("to_default", PEER), ("to_strong", STRONG)):
            other = [r for r in same if r["name"] == name]
            if other:
                row[key] = row["images_per_second"] / other[0]["images_per_second"]
                row["cpu_" + key] = (row["images_per_cpu_second"] /
                                     other[0]["images_per_cpu_second"])
        peaks = [r["peak_gflops"] for r in same if r.get("peak_gflops")]
        if peaks and "gflops" in row:
            row["share_of_peak"] = row["gflops"] / statistics.median(peaks)


# ---------------------------------------------------------------- the report

COLUMNS = (
    ("who", "name", "{}"),
    ("images/s", "images_per_second", "{:.1f}"),
    ("per CPU s", "images_per_cpu_second", "{:.1f}"),
    ("to default", "to_default", "{:.2f}"),
    ("to strong", "to_strong", "{:.2f}"),
    ("by CPU s", "cpu_to_strong", "{:.2f}"),
    ("of peak", "share_of_peak", "{:.1%}"),
    ("RSS, MB", "peak_rss_mb", "{:.0f}"),
    ("start, s", "start_up_seconds", "{:.2f}"),
)


def print_table(done):
    rows, here = done["table"], done["machine"]
    head = ["config", "threads", "mode", "precision"] + [c[0] for c in COLUMNS]
    report.print_table(head, [
        [row["config"].upper(), str(row["threads"]), row["mode"], row["precision"]] +
        [report.cell_text(row, key, form) for _, key, form in COLUMNS] for row in rows], 5)
    print(f"\n{here['processor']}, {here['processors']} processors; {here['glow']}; "
          f"torch {here['torch']}, normflows {here['normflows']}; {here['date']}; "
          f"{done['rounds']} rounds of {done['seconds']:g} s")
    for note in done["notes"]:
        print("note: " + note)


def machine():
    """What was measured, and on what."""
    name = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    glow = subprocess.run([os.environ["GLOW"], "--version"], capture_output=True, text=True)
    return {"processor": name, "processors": os.cpu_count(), "system": platform.platform(),
            "load_before": os.getloadavg()[0], "glow": glow.stdout.strip(),
            "torch": metadata.version("torch"), "normflows": metadata.version("normflows"),
            "python": platform.python_version(), "mkl_avx512": bool(os.environ.get("PRELOAD")),
            "date": time.strftime("%Y-%m-%d %H:%M")}


def stop_when_told():
    """Ends like an interruption, so that what is being measured doesn't run on alone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main():
    args = arguments()
    stop_when_told()
    if args.table:
        print_table(report.load(args.table))
        return 0
    done = {"machine": machine(), "rounds": args.rounds, "seconds": args.seconds, "notes": [],
            "table": []}
    if done["machine"]["load_before"] > 0.5:
        done["notes"].append("the machine was busy before the start: load "
                             f"{done['machine']['load_before']:.1f}")
    for size in args.configs:
        for threads in args.threads:
            for mode in args.modes:
                for precision in args.precisions:
                    done["table"] += measure_cell((size, threads, mode), precision, args,
                                                  done["notes"])
                    add_ratios(done["table"])
                    report.save(args.json, done)
    print_table(done)
    print(f"all measurements: {args.json}", file=sys.stderr)
    return 0 if done["table"] else 1


if __name__ == "__main__":
    sys.exit(main())
