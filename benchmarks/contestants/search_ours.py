"""loramill's search: trials are members of packs."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measure import specification
from search_field import Field, Trace

from loramill.pack.members import Pack
from loramill.search.find import Search, find
from loramill.search.folds import groups_of
from loramill.search.noise import Judges
from loramill.search.run import Ended, Trainer
from loramill.search.study import Record
from loramill.training.loop import Silence


def main() -> None:
    """Search once, from the loading of the base to the decision."""
    spec = specification()
    field = Field(spec)
    trace = Trace()
    pack = Pack(field.load())
    targets = np.array([row.targets for row in field.validation])
    judges = Judges(targets, groups_of(field.validation_records, field.config.near_duplicate))

    def note(ended: Ended) -> None:
        steps = ended.outcome.progress.step if ended.outcome else 0
        trace.ended(ended.entry.value, steps)

    with TemporaryDirectory() as folder:
        trainer = Trainer(
            pack, field.config, field.learning, [(field.train, field.validation)], Silence(), note, Path(folder) / "c"
        )
        whole = Search(field.space, judges, lambda name: Record(name, Path(folder) / "study.db"), "benchmark")
        found, _ = find(whole, trainer)
    trace.report(loss=found.loss, rank=found.settings.rank, at=time.perf_counter())


if __name__ == "__main__":
    main()
