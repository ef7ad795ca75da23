"""The plan: what ``conf/`` may say, typed and frozen, and how it is read.

`SECTIONS` maps each step to its section: pydantic reserves the name ``validate``.
"""

from loramill.config.answers import AnswerRule, JudgeConfig, RecitationConfig, compile_pattern
from loramill.config.load import domain_file, domains, load_articles, load_plan, parse_plan, read_settings, read_yaml
from loramill.config.rows import Action, Columns, PersonalKind, Rules, SplitConfig, ValidationConfig
from loramill.config.section import Section
from loramill.config.sections import (
    Base,
    EvaluateConfig,
    LearningConfig,
    LearningRates,
    Method,
    NightlyConfig,
    Plan,
    PromoteConfig,
    SearchConfig,
    Settings,
    TrainConfig,
)
from loramill.config.tables import Articles, law_name

__all__ = [
    "SECTIONS",
    "Action",
    "AnswerRule",
    "Articles",
    "Base",
    "Columns",
    "EvaluateConfig",
    "JudgeConfig",
    "LearningConfig",
    "LearningRates",
    "Method",
    "NightlyConfig",
    "PersonalKind",
    "Plan",
    "PromoteConfig",
    "RecitationConfig",
    "Rules",
    "SearchConfig",
    "Section",
    "Settings",
    "SplitConfig",
    "TrainConfig",
    "ValidationConfig",
    "compile_pattern",
    "domain_file",
    "domains",
    "law_name",
    "load_articles",
    "load_plan",
    "parse_plan",
    "read_settings",
    "read_yaml",
]

SECTIONS = {
    "validate": "validation",
    "split": "split",
    "search": "search",
    "train": "train",
    "evaluate": "evaluate",
    "promote": "promote",
}
"""Step -> its section in ``conf/``; the order is the story's."""
