"""Which adapters learnt a row: their own training rows, and those of the adapters that they started from."""

from collections.abc import Mapping

from loramill.pack.manifest import Manifest


def learnt(row: str, adapters: Mapping[str, Manifest]) -> list[str]:
    """Return the digests of all adapters that learnt a row, in the order given.

    An adapter that started from another one carries on what that one learnt, however long ago.

    Args:
        row: a record id.
        adapters: every known adapter, by digest; an ancestor that is not among them cannot be asked.
    """
    return [digest for digest in adapters if any(row in each.rows for each in _line(digest, adapters))]


def unknown_ancestors(adapters: Mapping[str, Manifest]) -> list[str]:
    """Return the digests that adapters started from and of which nothing is known any more."""
    starts = {each.started_from for each in adapters.values() if each.started_from is not None}
    return sorted(starts - adapters.keys())


def _line(digest: str, adapters: Mapping[str, Manifest]) -> list[Manifest]:
    """Return an adapter and those it came from."""
    line: list[Manifest] = []
    at = adapters.get(digest)
    while at is not None and at not in line:
        line.append(at)
        at = adapters.get(at.started_from or "")
    return line
