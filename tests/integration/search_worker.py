"""A worker of a shared search, for tests: ``python -m tests.integration.search_worker <address> <seconds per check>``."""

import sys
import time
import warnings

from loramill.config import SearchConfig
from loramill.search.find import Search, find
from loramill.search.rounds import Round
from loramill.search.study import Record
from tests.unit.search.play import Pack, facts, judges, noisy, space, valley

CONFIG = SearchConfig(trials=8, lag=6, pack=2, repeats=1, takeover_seconds=3)
OBJECTIVE = noisy(valley)


def say(text: str) -> None:
    """Print a line at once: the process may be killed before the next."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Slow(Pack):
    """Takes its time over a check, and waits while another worker has what is left."""

    def __init__(self, seconds: float) -> None:
        super().__init__(OBJECTIVE, CONFIG.pack, say)
        self._seconds = seconds

    def __call__(self, round: Round) -> None:
        while not round.is_over():
            running = round.take(self._places)
            while running:
                time.sleep(self._seconds)
                round.alive()
                running = self._train(round, running)
            time.sleep(0.05)


def main(address: str, seconds: float) -> None:
    """Search until all is done, and print what was found."""
    whole = Search(space(CONFIG), judges(), lambda name: Record(name, address, CONFIG.takeover_seconds), "law")
    found, entries = find(whole, Slow(seconds))
    say(f"found {found.settings.model_dump_json()} {found.said}")
    say(f"facts {facts(entries)}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], float(sys.argv[2]))
