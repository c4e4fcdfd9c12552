"""A step of quantization-aware training against the fp32 step with BatchNorm: ResNet-8, batch 32, 3x32x32.

Run by hand: python tests/benchmarks/qat_step.py [--rounds 40] [--profile scales]

A step is forward, cross entropy, backward and SGD with momentum, with what `edgekit.fit.Hooks` adds for the
scales. The fp32 model trains with its BatchNorm; the others with BatchNorm folded and every site of the
board's grid faked. All take turns in one process, with 2 threads and with 1. `--profile MODE` prints
torch's operator table instead.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, calibrated, parser, random_batches, settle, to_graph

from edgekit.profile import interleave, ratio
from edgekit.quant.quantization import Quantization

SHAPE, BATCH, ASKED = (3, 32, 32), 32, 1.5
MODES = ("scales", "averaged", "frozen")


def stepper(model: Any, extra: list[Any], inputs: Any, targets: Any) -> Callable[[], object]:
    """One training step on a fixed batch, as a call."""
    import torch
    from torch.nn import functional as F

    from edgekit.fit import Hooks

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    hooks = Hooks(epochs=1, lr=1e-4, extra_parameters=extra)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        hooks.step()

    return step


def quantized_model(model: Any, *, seed: int) -> tuple[Any, Quantization]:
    """The model with BatchNorm folded, and scales for every site of this machine's grid."""
    import torch

    from edgekit.export.fuse import fuse_batchnorm

    fused, _ = fuse_batchnorm(model, {"input": torch.zeros(1, *SHAPE)})
    batches = random_batches(SHAPE, seed=seed, count=2, batch=BATCH)
    return fused, calibrated(to_graph(fused, SHAPE, fuse=False), batches)


class Steps:
    """The fp32 step and a faked step for each way of learning the scales, over one random batch."""

    def __init__(self, stack: ExitStack, *, seed: int) -> None:
        import torch

        from edgekit.quant.fake import faked
        from edgekit.zoo.resnet import resnet8

        torch.manual_seed(seed)
        model = settle(resnet8(), SHAPE, seed=seed)
        fused, quantization = quantized_model(model, seed=seed)
        self.sites = len(quantization.activations) + len(quantization.weights)
        inputs, targets = torch.randn(BATCH, *SHAPE), torch.randint(0, 10, (BATCH,))
        self.calls = {"fp32": stepper(copy.deepcopy(model).train(), [], inputs, targets)}
        self.seen: dict[str, int] = {}
        for mode in MODES:
            student = copy.deepcopy(fused).train()
            fake = stack.enter_context(faked(student, quantization, learn=mode))
            self.calls[mode] = stepper(student, list(fake.parameters()), inputs, targets)
            self.calls[mode]()
            self.seen[mode] = len(fake.sites_seen)


def measure(cases: Cases, *, threads: int, rounds: int, seconds: float, smoke: bool) -> None:
    """Time every step in turns and add a case for each way of learning."""
    import torch

    torch.set_num_threads(threads)
    with ExitStack() as stack:
        steps = Steps(stack, seed=cases.seed)
        timings = interleave(steps.calls, rounds=rounds, seconds=seconds)
    for mode in MODES:
        slowdown = ratio(timings[mode], timings["fp32"])
        cases.add(
            f"{mode}, {threads} threads",
            met=None if smoke else bool(slowdown.value <= ASKED and steps.seen[mode] == steps.sites),
            asked=f"<= {ASKED}x, every site",
            slowdown=as_pair(slowdown),
            sites_faked=f"{steps.seen[mode]} of {steps.sites}",
            fp32_ms=round(timings["fp32"].typical / 1e6, 2),
            qat_ms=round(timings[mode].typical / 1e6, 2),
            threads=threads,
            learn=mode,
            rounds=rounds,
        )


def profile(mode: str, *, seed: int, threads: int) -> None:
    """Print where torch spends the time of 20 steps, fp32 and `mode`."""
    import torch
    from torch.profiler import ProfilerActivity

    torch.set_num_threads(threads)
    with ExitStack() as stack:
        steps = Steps(stack, seed=seed)
        for name in ("fp32", mode):
            for _ in range(10):
                steps.calls[name]()
            with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as seen:
                for _ in range(20):
                    steps.calls[name]()
            print(f"{name}, {threads} threads, 20 steps")
            print(
                seen.key_averages().table(
                    sort_by="self_cpu_time_total", row_limit=18, max_name_column_width=50
                )
            )


def main() -> int:
    """Run both thread counts; 1 where a step takes more than what is asked."""
    options = parser(__doc__, smoke="3 rounds of 3 steps, 1 thread")
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--seconds", type=float, default=40.0, help="of timing for each thread count")
    options.add_argument("--threads", nargs="+", type=int, default=[2, 1])
    options.add_argument("--profile", choices=MODES)
    chosen = options.parse_args()
    if chosen.profile:
        profile(chosen.profile, seed=chosen.seed, threads=chosen.threads[-1])
        return 0
    cases = Cases("qat_step", chosen.seed)
    for threads in [1] if chosen.smoke else chosen.threads:
        measure(
            cases,
            threads=threads,
            rounds=3 if chosen.smoke else chosen.rounds,
            seconds=0.5 if chosen.smoke else chosen.seconds,
            smoke=chosen.smoke,
        )
    return cases.finish(["slowdown", "fp32_ms", "qat_ms", "sites_faked"])


if __name__ == "__main__":
    sys.exit(main())
