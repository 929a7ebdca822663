"""gpu_compare.py - whom bench/gpu_compare.py measures when, with measurements that are made up: the
best peer alone goes on after the first round, failures are told and not repeated, what was measured
before is not measured again, and a measurement that hangs is killed with its children.

  gpu_compare.py BENCH FILE"""
import contextlib
import io
import os
import sys
import time
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])
import compare  # noqa: E402
import gpu_compare as g  # noqa: E402

RATES = {"glow, store": 300, "glow, recompute": 200, "torch, eager": 50, "torch, graph": 100,
         "torch, compiled": 150}
calls = []


def measured(cell, args, name):
    calls.append((cell[1], name))
    if cell[2] == "peak":
        return {"gflops": 1e5, "measured_between": [0, 1]}
    if name == "torch, compiled" and cell[1] == 64:
        raise g.Failed("out of memory: tried too much")
    return {"batch": cell[1], "rows_per_second": RATES[name], "device_reserved_mb": 1000.0,
            "measured_between": [0, 1]}


def who(kind, settings):
    if kind == "glow":
        return "glow, " + settings[0].split('"')[1]
    return next((k for k in RATES if k.startswith("torch") and g.PEERS[k] == settings), g.PEAK)


g.ours = lambda cell, args, settings, *more: measured(cell, args, who("glow", settings))
g.peer = lambda cell, args, flags: measured(cell, args, who("torch", flags))
driver = SimpleNamespace(before=lambda: None, add=lambda result, idle: None)
args = SimpleNamespace(configs=("s",), batches=[64, 256], modes=("train",), rounds=2, minutes=None,
                       peers=[k for k in RATES if k.startswith("torch")], json=sys.argv[2], device="cuda")
done = {"machine": dict.fromkeys(("device", "glow", "torch", "date", "precision", "rounds"), "-") |
        {"seconds": 1.0}, "measurements": []}
with contextlib.redirect_stderr(io.StringIO()):
    assert g.measure_all(done, args, driver)
ours, both = ["glow, store", "glow, recompute"], ["torch, graph", "torch, eager"]
first = [(1, g.PEAK), *((64, n) for n in RATES), *((256, n) for n in ours + both)]
second = [(1, g.PEAK), *((64, n) for n in ours), (64, "torch, graph"),
          *((256, n) for n in ours), (256, "torch, graph")]
assert calls == first + second, calls
saved = g.report.load(args.json)
assert saved == done and not os.path.exists(args.json + ".new")
calls.clear()
assert g.measure_all(saved, args, driver) and not calls, calls
out = io.StringIO()
with contextlib.redirect_stdout(out):
    g.print_table(saved)
for line in ("torch, graph (best)", "S 64: 3.00, S 256: 3.00", "S 64 train torch, compiled: out of memory",
             "peak: 100.0 TFLOP/s", "best torch's (aim: 0.33): S 64: 1.00"):
    assert line in out.getvalue(), out.getvalue()
args.minutes, saved["measurements"] = -1, []
assert not g.measure_all(saved, args, driver)

begin = time.time()
try:
    compare.run(["sh", "-c", "sleep 61.25 & wait"], {}, limit=0.5)
    raise AssertionError("a hanging measurement was not stopped")
except compare.Failed as problem:
    assert "took more than 0.5 s" in str(problem) and time.time() - begin < 30
for process in filter(str.isdigit, os.listdir("/proc")):
    with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as f:
        assert b"sleep\x0061.25" not in f.read(), "its child runs on"
