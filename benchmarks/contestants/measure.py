"""A stopwatch for contestants; it imports torch only, so that every peer's environment can run it."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch


def specification() -> dict[str, Any]:
    """Read what the contest asks for."""
    content: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(content.get("threads", torch.get_num_threads()))
    return content


class Stopwatch:
    """Times the steps after the warm-up."""

    def __init__(self, warm: int, steps: int) -> None:
        self.warm, self.steps = warm, steps
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self._last = 0.0
        self._cpu: list[float] = []

    def tick(self) -> None:
        """Hear that a step has ended."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._cpu.append(time.process_time())
        if self._last:
            self.seconds.append(now - self._last)
        self._last = now

    def report(self, **more: Any) -> None:
        """Print the result as the last line."""
        timed = self.seconds[self.warm - 1 :]
        on_gpu = torch.cuda.is_available()
        peak = (
            torch.cuda.max_memory_allocated() / 2**20
            if on_gpu
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        )
        result = {
            "seconds": sum(timed),
            "cpu_seconds": self._cpu[-1] - self._cpu[self.warm - 1],
            "timed_steps": len(timed),
            "peak_mib": round(peak, 1),
            "first_loss": self.losses[0] if self.losses else None,
            "last_loss": self.losses[-1] if self.losses else None,
        }
        print("\n" + json.dumps(result | more), flush=True)
