"""A stopwatch for contestants; it imports torch only, so that every peer's environment can run it."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


def specification() -> dict[str, Any]:
    """Read what the contest asks for."""
    content: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(content.get("threads", torch.get_num_threads()))
    return content


def peak_resident() -> int:
    """Return the most bytes that this process had in memory; ``ru_maxrss`` would count those of the one that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))[0]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@contextmanager
def profiled(wanted: bool) -> Iterator[dict[str, float]]:
    """Give a dictionary that holds afterwards which share of the time each of torch's operations took, if that is wanted."""
    shares: dict[str, float] = {}
    if not wanted:
        yield shares
        return
    with torch.profiler.profile() as seen:
        yield shares
    key = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    took = {event.key: float(getattr(event, key)) for event in seen.key_averages()}
    whole = sum(took.values())
    shares |= {name: round(took[name] / whole, 4) for name in sorted(took, key=took.__getitem__, reverse=True)[:12]}


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
        peak = (torch.cuda.max_memory_allocated() if on_gpu else peak_resident()) / 2**20
        result = {
            "seconds": sum(timed),
            "cpu_seconds": self._cpu[-1] - self._cpu[self.warm - 1],
            "timed_steps": len(timed),
            "peak_mib": round(peak, 1),
            "first_loss": self.losses[0] if self.losses else None,
            "last_loss": self.losses[-1] if self.losses else None,
        }
        print("\n" + json.dumps(result | more), flush=True)
