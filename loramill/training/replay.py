"""What a training that goes on from an older adapter repeats, so that learning the new does not cost the old."""

import hashlib
from collections.abc import Collection, Sequence

from loramill.prompts import Row


def with_replay(rows: Sequence[Row], fresh: Collection[str], times: float) -> list[Row]:
    """Return the rows of fresh records and some of the others, in the order given.

    Which old records come again follows from the fresh ones: the same tonight after a crash, others another night.

    Args:
        rows: all training rows.
        fresh: ids of the records that the older adapter has not learnt.
        times: old records for each fresh one, at most.
    """
    seed = ",".join(sorted(fresh))
    old = {row.record_id for row in rows} - set(fresh)
    drawn = sorted(old, key=lambda id: hashlib.sha256(f"{seed}:{id}".encode()).hexdigest())
    chosen = {*fresh, *drawn[: round(times * len(fresh))]}
    return [row for row in rows if row.record_id in chosen]
