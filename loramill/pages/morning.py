"""The page of the morning: what the night did with every domain, for people who know the domains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from loramill.pages.render import TEMPLATES, render

Ending = Literal[
    "promoted",
    "kept the champion",
    "no champion yet",
    "already champion",
    "waits for approval",
    "not judged",
    "skipped",
    "postponed",
    "busy",
    "failed",
]
COLOURS: Final[Mapping[str, str]] = {
    "promoted": "good",
    "failed": "bad",
    "busy": "warn",
    "postponed": "warn",
    "waits for approval": "warn",
    "not judged": "warn",
}
CHINESE: Final[Mapping[str, str]] = {
    "promoted": "已上线",
    "kept the champion": "保留原版本",
    "no champion yet": "尚无可上线的版本",
    "already champion": "原版本仍最好",
    "waits for approval": "等待人工批准",
    "not judged": "需要重新评测",
    "skipped": "跳过",
    "postponed": "推迟",
    "busy": "被占用",
    "failed": "出错",
}
WHY_CHINESE: Final[Mapping[str, str]] = {
    "no champion": "还没有上线的版本，需要训练",
    "forgotten": "上线版本学过必须遗忘的数据，需要重新训练",
    "settings": "设置或底座变了，需要重新训练",
    "same": "和上线版本训练时相比，没有实质变化",
    "few": "变化的行数太少，不值得训练",
    "rows": "数据变了，需要重新训练",
    "unjudged": "上次已训练完，等待评测",
    "tried": "同样的数据已经试过，不再重复",
    "unchanged": "上次运行之后没有任何变化",
}
OUTCOMES: Final[Mapping[str, str]] = {"better": "更好", "worse": "更差", "not proven": "未能证明"}
REFERENCES: Final[Mapping[str, str]] = {"base": "底座", "champion": "上线版本"}


@dataclass(frozen=True)
class DomainNight:
    """What a night did with one domain."""

    domain: str
    ending: Ending
    reasons: tuple[str, ...]
    """In plain words; never a row's own."""
    why: str = ""
    """The word for the reason why it was trained, or was not."""
    changes: Mapping[str, int] = field(default_factory=dict)
    """Training rows that are added, changed, removed, kept."""
    drift: tuple[str, ...] = ()
    champion: str = ""
    """The version that serves from now on, if any."""
    version: str = ""
    """The version that was made tonight, if any."""
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By reference: ``outcome``, ``gain``, ``low``, ``high``, ``rows``."""
    taken: str = ""
    """``continued`` from the champion or from ``scratch``."""
    stopped_by_time: bool = False
    minutes: float = 0.0

    @property
    def plain(self) -> dict[str, Any]:
        """All of it as plain values, for machines."""
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in vars(self).items()}

    @property
    def notice(self) -> dict[str, Any]:
        """What may leave the house: reasons and topics can quote a row, these cannot."""
        return {key: self.plain[key] for key in ("domain", "ending", "why", "changes", "version", "champion")}


def morning_page(nights: Sequence[DomainNight], when: datetime) -> str:
    """Return the page as one HTML file."""
    values = {
        "when": f"{when:%Y-%m-%d %H:%M}",
        "counts": counts(nights),
        "nights": [_shown(each) for each in nights],
    }
    return render(TEMPLATES, "morning.html", values)


def morning_markdown(nights: Sequence[DomainNight]) -> str:
    """Return the same as a Markdown table."""
    lines = ["| domain | ending | why | serves now |", "|---|---|---|---|"]
    lines += [
        f"| {each.domain} | {each.ending} | {_cell('; '.join(each.reasons))} | {each.champion or 'the base'} |"
        for each in nights
    ]
    return "\n".join(lines) + "\n"


def counts(nights: Sequence[DomainNight]) -> dict[str, int]:
    """Return how many domains were promoted, kept as they are, skipped, and need a person."""
    kinds = {
        "promoted": {"promoted"},
        "kept": {"kept the champion", "no champion yet", "already champion", "waits for approval", "not judged"},
        "skipped": {"skipped", "postponed", "busy"},
        "person": {"waits for approval", "not judged", "failed"},
    }
    return {name: sum(each.ending in endings for each in nights) for name, endings in kinds.items()}


def _shown(night: DomainNight) -> dict[str, Any]:
    return {
        **vars(night),
        "colour": COLOURS.get(night.ending, ""),
        "ending_zh": CHINESE[night.ending],
        "why_zh": WHY_CHINESE.get(night.why, ""),
        "verdicts": [
            {**verdict, "zh": OUTCOMES[verdict["outcome"]], "en": verdict["outcome"], "of": reference}
            | {"of_zh": REFERENCES.get(reference, reference)}
            for reference, verdict in night.verdicts.items()
        ],
    }


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
