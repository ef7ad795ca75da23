"""Runs flows as it is told on its standard input, each in a process of its own that is killed where it is told.

``python -m tests.e2e.worker``: each line is ``finetune`` or ``nightly``, perhaps with a path and a count: right before the
process puts something there for that time, it dies by -9. What a run says goes into ``said.log``, its status to the standard
output. A line that begins with ``!`` is one for the shell. The processes are children of one that has imported everything: a
start costs a tenth of a second instead of eight.
"""

import os
import signal
import subprocess
import sys
from typing import Any

SAID = "said.log"


def main() -> None:
    import dvc.repo  # noqa: F401
    import great_expectations  # noqa: F401
    import mlflow  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    from flows import finetune, nightly, nights, runs

    flows = {
        "finetune": lambda: runs.run_here(finetune.finetune),
        "nightly": lambda: nights.run_here(nightly.nightly),
    }
    for line in sys.stdin:
        if line.startswith("!"):
            subprocess.run(line[1:], shell=True, check=True)
            continue
        flow, *where = line.split()
        child = os.fork()
        if not child:
            _become_a_run(*where)
            flows[flow]()
            return
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _become_a_run(killed_before: str = "", time: str = "1") -> None:
    """Be what `loramill run law` starts, or the night of that domain, with a kill in wait."""
    log = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv[1:] = ["law"]
    times = iter(range(1, int(time)))

    def die(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and os.path.relpath(os.fsdecode(arguments[1])) == killed_before and not next(times, 0):
            os.kill(os.getpid(), signal.SIGKILL)

    if killed_before:
        sys.addaudithook(die)


if __name__ == "__main__":
    main()
