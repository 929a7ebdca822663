"""One measurement of the peer, PyTorch with the package normflows, in a fresh process.

Builds the GLOW of configs/bench-{s,m,c}.cfg from normflows' own blocks and prints, as one line of
JSON, the fields of `glow bench` that both have. compare.py runs it.

"strong" is the fastest that the peer gets by settings alone: memory in channels-last order, the
fused Adam, ActNorm without its test for the first batch; compare.py adds an allocator that keeps
freed blocks, and MKL's AVX-512 kernels on processors of any maker.
"""
import argparse
import json
import math
import os
import resource
import statistics
import time
from dataclasses import dataclass

WARM_UP, LEAST = 2, 3  # steps


@dataclass(frozen=True)
class Size:
    side: int
    channels: int
    levels: int
    steps: int  # of each level
    width: int  # of a coupling's network
    batch: int

    def shapes(self):
        """Channels and side of every level, after its squeeze."""
        channels, side = self.channels, self.side
        for _ in range(self.levels):
            side //= 2
            yield 4 * channels, side
            channels *= 2

    def forward_flops(self):
        """Of one image: the multiply-adds of coupling networks and 1x1 convolutions, times two."""
        total = 0
        for c, side in self.shapes():
            network = 9 * (c // 2) * self.width + self.width**2 + 9 * self.width * c
            total += self.steps * side * side * (network + c * c)
        return 2 * total


SIZES = {
    "s": Size(32, 1, 3, 8, 128, 64),
    "m": Size(32, 3, 3, 16, 256, 16),
    "c": Size(64, 3, 4, 22, 512, 4),
}


def seconds_of_process():
    with open("/proc/self/stat") as f:
        ticks = int(f.read().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def arguments():
    parser = argparse.ArgumentParser(description="measure normflows' GLOW; one line of JSON")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--mode", choices=("train", "sample"), default="train")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--strong", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    return parser.parse_args()


class Peer:
    def __init__(self, size, strong, bf16):
        import normflows
        import torch

        self.torch, self.size, self.strong, self.bf16 = torch, size, strong, bf16
        flows, merges, priors = [], [], []
        for i, (c, side) in enumerate(reversed(list(size.shapes()))):  # the coarsest level first
            steps = [
                normflows.flows.GlowBlock(c, size.width, split_mode="channel", scale=True)
                for _ in range(size.steps)
            ]
            flows.append(steps + [normflows.flows.Squeeze()])
            priors.append(
                normflows.distributions.DiagGaussian((c if i == 0 else c // 2, side, side))
            )
            if i > 0:
                merges.append(normflows.flows.Merge())
        self.net = normflows.MultiscaleFlow(priors, flows, merges, class_cond=False)
        with torch.no_grad():
            self.loss(self.rows())  # the data-dependent initialisation
        if strong:
            self.net.to(memory_format=torch.channels_last)
            plain = normflows.flows.AffineConstFlow  # what an initialised ActNorm is
            for m in self.net.modules():
                if isinstance(m, normflows.flows.ActNorm):
                    m.forward, m.inverse = plain.forward.__get__(m), plain.inverse.__get__(m)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4, fused=strong or None)

    def rows(self):
        """A batch of random bytes, dequantised, in [-0.5, 0.5)."""
        s = self.size
        x = self.torch.randint(0, 256, (s.batch, s.channels, s.side, s.side)).float()
        x = (x + self.torch.rand_like(x)) / 256 - 0.5
        return x.to(memory_format=self.torch.channels_last) if self.strong else x

    def autocast(self):
        return self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=self.bf16)

    def loss(self, x):
        """Bits per dimension."""
        dimensions = x[0].numel()
        nats = -self.net.log_prob(x, None).mean()
        return (nats / dimensions + math.log(256)) / math.log(2)

    def train(self):
        with self.autocast():
            loss = self.loss(self.rows())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def sample(self, n):
        with self.torch.no_grad(), self.autocast():
            return self.net.sample(n, temperature=0.7)[0].mean().item()


def measure(step, seconds):
    """Wall and processor seconds of each step after a warm-up, and of the start-up before that."""
    step()
    start_up = seconds_of_process(), time.process_time()
    for _ in range(WARM_UP - 1):
        step()
    wall, cpu = [], []
    start, faults = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    while len(wall) < LEAST or time.perf_counter() - start < seconds:
        w, c = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return wall, cpu, start_up, faults / len(wall)


def main():
    args = arguments()
    import torch

    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    torch.manual_seed(0)
    size = SIZES[args.size]
    peer = Peer(size, args.strong, args.bf16)
    n = size.batch if args.mode == "train" else 16
    step = peer.train if args.mode == "train" else lambda: peer.sample(n)
    wall, cpu, start_up, faults = measure(step, args.seconds)
    gflop = size.forward_flops() * n * (3 if args.mode == "train" else 1) / 1e9
    seconds = statistics.median(wall)
    print(
        json.dumps(
            {
                "mode": args.mode,
                "batch": n,
                "threads": torch.get_num_threads(),
                "precision": "bf16" if args.bf16 else "fp32",
                "parameters": sum(p.numel() for p in peer.net.parameters() if p.requires_grad),
                "steps": len(wall),
                "rows_per_second": n / seconds,
                "ms_per_step": {"min": 1e3 * min(wall), "median": 1e3 * seconds},
                "cpu_ms_per_step": {"min": 1e3 * min(cpu), "median": 1e3 * statistics.median(cpu)},
                "gflop_per_step": gflop,
                "gflops": gflop / seconds,
                "start_up_seconds": start_up[0],
                "start_up_cpu_seconds": start_up[1],
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "page_faults_per_step": faults,
            }
        )
    )


if __name__ == "__main__":
    main()
