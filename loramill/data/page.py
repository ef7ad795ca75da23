"""The report that a domain expert reads: what came in, what was left out, what it is about, what to write next."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from loramill.data.advice import Advice, Count, advise_on_test, advise_on_topics, decisive_rows, wins_shown
from loramill.data.lengths import Lengths, measure
from loramill.data.topics import find_topics
from loramill.pages.pictures import draw_bar, draw_histogram, histogram
from loramill.pages.render import render
from loramill.records import Record

TEMPLATES: Final = Path(__file__).parent / "templates"
PARTS: Final = ("train", "validation", "test")
LISTED: Final = 500
"""Rows that the page lists in all; the report beside it lists every one."""
FILES_LISTED: Final = 60
SAMPLE: Final = 1500
"""Rows from which the topics are found; of more rows every n-th is taken."""
EXAMPLES: Final = 2
NOTHING_TO_MEND: Final = ("exact-duplicate", "near-duplicate")
"""Rules whose rows are fine but superfluous."""

Member = tuple[str, Record]
"""A row and the part that it is in."""


@dataclass(frozen=True)
class Group:
    """Rows that one rule speaks of."""

    words: Mapping[str, Mapping[str, str]] | None
    """What the rule means, by language; nothing for a rule without plain words."""
    rule: str
    count: int
    rows: Sequence[Mapping[str, Any]]
    """The ones that are listed."""


@dataclass(frozen=True)
class TopicView:
    """One topic as the page shows it."""

    count: Count
    examples: Sequence[str]
    bar: str


@dataclass(frozen=True)
class LengthView:
    """Lengths as the page shows them."""

    lengths: Lengths
    picture: str
    short: Sequence[Record]
    long: Sequence[Record]


def data_page(
    domain: str,
    records: Sequence[Record],
    parts: Mapping[str, Sequence[Record]],
    validate: Mapping[str, Any],
    split: Mapping[str, Any],
) -> str:
    """Return the report on one domain's rows as one self-contained HTML file, in Chinese and English.

    Args:
        domain: name of the domain.
        records: the rows that were kept.
        parts: the rows of ``train``, ``validation`` and ``test``.
        validate: content of ``validate.json``; what it lacks is left out of the page.
        split: content of ``split.json``; what it lacks is left out of the page.
    """
    members: list[Member] = [(part, record) for part in PARTS for record in parts.get(part, ())]
    members = members or [("", record) for record in records]
    plain = _plain_words()
    topics = _topics(members[:: -(-len(members) // SAMPLE) or 1])
    rows = {part: len(parts.get(part, ())) for part in PARTS}
    lengths = {
        "question": _lengths(records, [record.question for record in records]),
        "answer": _lengths(records, [record.answer for record in records]),
    }
    values = {
        "domain": domain,
        "plain": plain,
        "stopped": _stopped(validate.get("stopped") or split.get("stopped"), plain["stops"]),
        "read": validate.get("read", len(records)),
        "kept": validate.get("kept", len(records)),
        "files": _files(records, validate.get("files") or []),
        "files_listed": FILES_LISTED,
        "dropped": _groups(validate.get("dropped") or [], plain["rules"]),
        "dropped_count": len(validate.get("dropped") or []),
        "kinds": _kinds(validate.get("changed") or []),
        "changed_count": len(validate.get("changed") or []),
        "warned": _groups(validate.get("warned") or [], plain["rules"], "sources"),
        "checks": _checks(validate.get("expectations") or [], plain["rules"]),
        "topics": topics,
        "topics_from": min(len(members), SAMPLE) if len(members) > SAMPLE else 0,
        "lengths": lengths,
        "rows": rows,
        "parts_bar": draw_bar([(part, rows[part]) for part in PARTS], sum(rows.values())),
        "refused": _groups(split.get("refused") or [], plain["rules"]),
        "new": split.get("new"),
        "needed": decisive_rows(),
        "wins": wins_shown(rows["test"]),
        "advice": _advice(validate, rows, [topic.count for topic in topics], lengths["answer"]),
    }
    return render(TEMPLATES, "data.html", values)


def _plain_words() -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, Any] = yaml.load((TEMPLATES / "plain_words.yaml").read_text(encoding="utf-8"), loader)  # noqa: S506
    return content


def _stopped(objection: Mapping[str, str] | None, plain: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return why the run stopped: in plain words, and as the terminal said it."""
    return {"words": plain[objection["kind"]], "reason": objection["reason"]} if objection else None


def _files(records: Sequence[Record], files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return name, kind and counts of each file; of a report without files, what the kept rows tell."""
    if not files:
        kept = Counter(record.source.rpartition(":")[0] or record.source for record in records)
        files = [{"file": name, "rows": count} for name, count in sorted(kept.items())]
    return [
        {
            "file": str(file.get("file", "")),
            "suffix": PurePosixPath(str(file.get("file", ""))).suffix.lower(),
            "rows": file.get("rows"),
            "refused": _count(file.get("refused")),
        }
        for file in files
    ]


def _count(value: Any) -> int:
    """Return a count that a report gives as a number or as the list of what is counted."""
    return value if isinstance(value, int) else len(value or ())


def _groups(rows: Sequence[Mapping[str, Any]], plain: Mapping[str, Any], counted: str = "") -> list[Group]:
    """Return the rows by rule, the most frequent first, each with no more rows than the page has room for."""
    by_rule: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_rule.setdefault(str(row.get("rule") or row.get("reason") or ""), []).append(row)
    room = max(5, LISTED // max(1, len(by_rule)))
    groups = [
        Group(_words(plain, rule), rule, sum(_count(row.get(counted)) or 1 for row in found), found[:room])
        for rule, found in by_rule.items()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.rule))


def _key(rule: Any) -> str:
    """Return a rule's name as the table of plain words writes it; ``conf/`` cannot have a dash in a key."""
    return str(rule or "").replace("_", "-")


def _words(plain: Mapping[str, Any], rule: str) -> Mapping[str, Mapping[str, str]] | None:
    return plain.get(_key(rule))


def _checks(expectations: Sequence[Mapping[str, Any]], plain: Mapping[str, Any]) -> list[Group]:
    """Return each rule once with the rows that broke it; one rule may stand on several columns."""
    broken: Counter[str] = Counter()
    for verdict in expectations:
        broken[str(verdict.get("rule") or verdict.get("expectation") or "")] += _count(verdict.get("rows"))
    return [Group(_words(plain, rule), rule, count, ()) for rule, count in broken.items()]


def _kinds(changed: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Return how often each kind of personal data was replaced; never what it was."""
    found: Counter[str] = Counter()
    for row in changed:
        found.update({str(kind): _count(count) for kind, count in (row.get("found") or {}).items()})
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _topics(members: Sequence[Member]) -> list[TopicView]:
    found = find_topics([record for _, record in members])
    most = max((len(topic.rows) for topic in found), default=0)
    views = []
    for topic in found:
        held = Counter(members[row][0] for row in topic.rows)
        rows = {part: held[part] for part in (*PARTS, "")}
        examples = [members[row][1].question for row in topic.rows[:EXAMPLES]]
        bar = draw_bar([(part or PARTS[0], rows[part]) for part in rows], most)
        views.append(TopicView(Count(topic.name, rows), examples, bar))
    return views


def _lengths(records: Sequence[Record], texts: Sequence[str]) -> LengthView | None:
    found = measure(texts)
    if found is None:
        return None
    short, long = ([records[place] for place in places] for places in (found.short, found.long))
    return LengthView(found, draw_histogram(histogram(found.values)), short, long)


def _advice(
    validate: Mapping[str, Any], rows: Mapping[str, int], topics: Sequence[Count], answers: LengthView | None
) -> list[Advice]:
    """Return what to do next, the quickest gain first."""
    found = []
    mendable = [row for row in validate.get("dropped") or [] if _key(row.get("rule")) not in NOTHING_TO_MEND]
    if mendable:
        found.append(Advice("mend", {"rows": len(mendable)}))
    contradictions = [row for row in validate.get("warned") or [] if _key(row.get("rule")) == "contradiction"]
    if contradictions:
        found.append(Advice("contradictions", {"groups": len(contradictions)}))
    total = sum(rows.values())
    found += advise_on_test(total, rows["test"])
    found += advise_on_topics(topics, rows["test"] / total if total else 0.0)
    if answers and (answers.short or answers.long):
        found.append(
            Advice("lengths", {"short": answers.short, "long": answers.long, "middle": answers.lengths.middle})
        )
    return found
