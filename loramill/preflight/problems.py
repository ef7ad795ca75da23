"""What the pre-flight can object to: each rule has a name, a weight and plain words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["error", "warning"]
"""An error stops; a warning wants to be looked at."""


@dataclass(frozen=True)
class Problem:
    """One objection to a row, or to the base where ``source`` is empty."""

    rule: str
    reason: str
    """What was found and the next move."""
    source: str = ""
    """``file:line`` of the row."""

    @property
    def level(self) -> Level:
        """How much it weighs."""
        return RULES[self.rule].level


@dataclass(frozen=True)
class Rule:
    """What a breach means, in the two languages of the page."""

    level: Level
    english: str
    chinese: str


RULES: Final = {
    "no-config": Rule("error", "The base's configuration is missing", "底座缺少配置文件"),
    "no-template": Rule("error", "The base has no chat template", "底座没有对话模板"),
    "vocabulary": Rule("error", "Tokenizer and base do not belong together", "分词器与底座不匹配"),
    "special-ids": Rule("error", "A special token of the base is not in the tokenizer", "底座的特殊词元不在分词器里"),
    "no-stop": Rule("error", "The tokenizer has no stop token", "分词器没有结束符"),
    "stop-id": Rule("warning", "The base's own configuration stops elsewhere", "底座自身配置的结束符不同"),
    "other-template": Rule("warning", "The last adapter learnt another template", "上一个适配器用的是另一种模板"),
    "start-template": Rule("error", "The adapter to start from learnt another template", "起点适配器用的是另一种模板"),
    "too-few": Rule("error", "Too few rows, or too many broken ones", "能用的行太少，或坏行太多"),
    "template": Rule("error", "The template refuses the row", "模板拒绝这一行"),
    "prefix": Rule("error", "The prompt changes once the answer follows", "接上回答后提示变了"),
    "stop": Rule("error", "The stop token is not learnt", "学不到结束符"),
    "nothing": Rule("error", "Nothing is learnt from the row", "这一行什么也学不到"),
    "cut": Rule("error", "The answer would be cut", "回答会被截断"),
    "window": Rule("error", "Longer than the base can read", "超过底座能读的长度"),
    "unknown": Rule("error", "Characters the tokenizer does not know", "有分词器不认识的字"),
    "rewritten": Rule("error", "The tokenizer changes the text", "分词器改动了原文"),
    "composed": Rule("warning", "The tokenizer composes accents (harmless)", "分词器合并了组合字符（无害）"),
    "control": Rule("error", "A control token stands in the text", "正文里有控制符"),
    "mark": Rule("warning", "A mark of the base stands in the text", "正文里有底座的标记"),
    "left-out": Rule("error", "The template leaves out what the row says", "模板漏掉了行中的内容"),
    "tools": Rule("error", "The template ignores the row's tools", "模板忽略了工具"),
    "unwritten": Rule("warning", "The template adds words to the answer", "模板在回答里加了字"),
    "refused": Rule("error", "Training would refuse the row", "训练会拒绝这一行"),
}


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems that stop."""
    return [problem for problem in problems if problem.level == "error"]


def by_rule(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return problems by their rule, errors first, the most frequent first."""
    grouped: dict[str, list[Problem]] = {}
    for problem in problems:
        grouped.setdefault(problem.rule, []).append(problem)
    order = sorted(grouped, key=lambda rule: (RULES[rule].level != "error", -len(grouped[rule]), rule))
    return {rule: grouped[rule] for rule in order}
