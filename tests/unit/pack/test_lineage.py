from loramill.pack.lineage import learnt, unknown_ancestors
from loramill.pack.manifest import Manifest


def manifest(digest: str, rows: list[str], started_from: str | None = None) -> Manifest:
    return Manifest(
        digest=digest,
        domain="law",
        base="b",
        base_digest="b",
        template_digest="t",
        shape={},
        training={},
        rows_digest="r",
        rows=rows,
        started_from=started_from,
        validation_loss=None,
    )


FAMILY = {
    each.digest: each
    for each in (
        manifest("first", ["a", "b"]),
        manifest("second", ["b", "c"], "first"),
        manifest("third", ["c", "d"], "second"),
        manifest("fresh", ["c", "d"]),
        manifest("orphan", ["d"], "lost"),
    )
}


def test_an_adapter_knows_what_its_ancestors_learnt() -> None:
    assert learnt("a", FAMILY) == ["first", "second", "third"]
    assert learnt("c", FAMILY) == ["second", "third", "fresh"]
    assert learnt("z", FAMILY) == []


def test_ancestors_that_nobody_knows_are_named() -> None:
    assert unknown_ancestors(FAMILY) == ["lost"]


def test_a_line_that_runs_in_a_circle_ends() -> None:
    circle = {each.digest: each for each in (manifest("x", ["a"], "y"), manifest("y", ["b"], "x"))}
    assert learnt("b", circle) == ["x", "y"]
