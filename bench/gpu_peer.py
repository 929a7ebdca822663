"""One measurement of PyTorch on a GPU, in a fresh process: trains or samples from the GLOW of
gpu_model.py, or multiplies matrices, and prints one line of JSON with those fields of `glow bench`
that both have. gpu_compare.py runs it.

Training takes batches of bytes from pinned memory, dequantises them, runs forward and backward and a
fused Adam; every REPORT steps the loss is read. With --graph all of a step is one
captured CUDA graph. Sampling ends with the images in the host's memory. --compile compiles each
step of flow: steps of a level share what comes out, so that it takes seconds, not minutes.
--device cpu is for trying this out where there is no GPU.
"""
import argparse
import gc
import json
import statistics
import sys
import time

import torch

from gpu_model import SIZES, Glow, Settings, dequantise

WARM_UP, LEAST, REPORT, POOL = 3, 3, 20, 4  # steps, groups of steps, steps of a group, batches
TEMPERATURE = 0.7


def arguments():
    parser = argparse.ArgumentParser(description="measure PyTorch's GLOW; one line of JSON")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--mode", choices=("train", "sample", "peak"), default="train")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--precision", choices=("bf16", "tf32", "fp32"), default="bf16")
    for flag in ("channels-last", "fold", "compile", "graph", "recompute"):
        parser.add_argument("--" + flag, action="store_true")
    return parser.parse_args()


def prepare_torch(args):
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"PyTorch {torch.__version__} finds no CUDA device")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    # The small products that make the 1x1 convolutions stay exact, as they are in the engine.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = args.precision != "fp32"
    if args.compile:
        torch._dynamo.config.cache_size_limit = 64


def finish(args):
    if args.device == "cuda":
        torch.cuda.synchronize()


def forget_memory(args):
    """Memory that the warm-up left in the allocator's cache is not the program's."""
    if args.device == "cuda":
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def captured(run, args):
    """`run` as a CUDA graph: a function that replays it, and what it returned."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(side)
    forget_memory(args)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph.replay, result


def compile_steps(model):
    for level in model.levels:
        for step in level.steps:
            step.compile(dynamic=False)
            step.inverse = torch.compile(step.inverse, dynamic=False)


class Training:
    def __init__(self, model, args):
        size = model.size
        shape = (args.batch, size.channels, size.side, size.side)
        self.model, cuda = model.train(), args.device == "cuda"
        self.pool = [torch.randint(0, 256, shape, dtype=torch.uint8) for _ in range(POOL)]
        if cuda:
            self.pool = [batch.pin_memory() for batch in self.pool]
        self.x = torch.zeros(shape, dtype=torch.uint8, device=args.device)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True,
                                          capturable=cuda and args.graph)
        self.flops, self.group, self.done = 3 * size.forward_flops(), REPORT if cuda else 1, 0
        self.replay = None
        if args.graph:
            self.replay, self.loss = captured(self.step, args)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(dequantise(self.x))
        loss.backward()
        self.optimizer.step()
        return loss

    def run(self):
        """A group of steps, until its last loss is known."""
        for _ in range(self.group):
            self.x.copy_(self.pool[self.done % POOL], non_blocking=True)
            self.done += 1
            if self.replay:
                self.replay()
            else:
                self.loss = self.step()
        self.last = self.loss.item()


class Sampling:
    def __init__(self, model, args):
        self.model, self.device, self.batch = model.eval(), args.device, args.batch
        model.prepare_inverse()
        self.flops, self.group, self.replay, self.last = model.size.forward_flops(), 1, None, None
        if args.graph:
            self.replay, self.images = captured(self.draw, args)

    @torch.no_grad()
    def draw(self):
        noise = [TEMPERATURE * torch.randn(self.batch, *shape, device=self.device)
                 for shape in self.model.latents]
        return self.model.decode(noise)

    def run(self):
        if self.replay:
            self.replay()
        else:
            self.images = self.draw()
        self.images.cpu()


def ms_since_1970(seconds):
    return round(1e3 * seconds)


def measure(work, args):
    """Wall seconds of a step, group by group, and when that began and ended."""
    for _ in range(WARM_UP if work.group == 1 else 1):
        work.run()
    forget_memory(args)
    wall, begin = [], time.time()
    while len(wall) < LEAST or time.time() - begin < args.seconds:
        before = time.perf_counter()
        work.run()
        wall.append((time.perf_counter() - before) / work.group)
    return wall, begin, time.time()


def product(args):
    """The rate of a large product of bf16 matrices, 2 n^3 operations, the sum in f32."""
    n = 8192 if args.device == "cuda" else 512
    a, b = (torch.randn(n, n, device=args.device).to(torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    finish(args)
    seconds, begin = [], time.time()
    while len(seconds) < LEAST or time.time() - begin < min(args.seconds, 2):
        before = time.perf_counter()
        for _ in range(10):
            a @ b
        finish(args)
        seconds.append((time.perf_counter() - before) / 10)
    return {"mode": "peak", "gflops": 2e-9 * n**3 / statistics.median(seconds),
            "measured_between": [ms_since_1970(begin), ms_since_1970(time.time())]}


def model_measurement(args):
    settings = Settings(args.precision == "bf16", args.channels_last, args.fold, args.recompute)
    model = Glow(SIZES[args.size], settings).to(args.device)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)
    if args.compile:
        compile_steps(model)
    begin = time.time()
    work = (Training if args.mode == "train" else Sampling)(model, args)
    wall, start, end = measure(work, args)
    seconds = statistics.median(wall)
    result = {
        "mode": args.mode, "batch": args.batch, "precision": args.precision,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": len(wall) * work.group,
        "rows_per_second": args.batch / seconds,
        "ms_per_step": {"min": 1e3 * min(wall), "median": 1e3 * seconds},
        "model_gflop_per_step": args.batch * work.flops / 1e9,
        "last_loss": work.last,
        "seconds_to_prepare": start - begin,
        "measured_between": [ms_since_1970(start), ms_since_1970(end)],
    }
    if args.device == "cuda":
        result["device_used_mb"] = torch.cuda.max_memory_allocated() / 1e6
        result["device_reserved_mb"] = torch.cuda.max_memory_reserved() / 1e6
    return result


def main():
    args = arguments()
    prepare_torch(args)
    try:
        print(json.dumps(product(args) if args.mode == "peak" else model_measurement(args)))
    except torch.cuda.OutOfMemoryError as problem:
        sys.exit("out of memory: " + str(problem).split(". ")[0])


if __name__ == "__main__":
    main()
