"""The plan: what ``conf/`` may say, typed and frozen, and how it is read.

`SECTIONS` maps each step to its section: pydantic reserves the name ``validate``.
"""

from loramill.config.load import domain_file, domains, load_plan, parse_plan, read_settings, read_yaml
from loramill.config.rows import Action, Columns, PersonalKind, Rules, SplitConfig, ValidationConfig
from loramill.config.section import Section
from loramill.config.sections import (
    Base,
    EvaluateConfig,
    LearningConfig,
    LearningRates,
    Method,
    Plan,
    PromoteConfig,
    SearchConfig,
    Settings,
    TrainConfig,
)

__all__ = [
    "SECTIONS",
    "Action",
    "Base",
    "Columns",
    "EvaluateConfig",
    "LearningConfig",
    "LearningRates",
    "Method",
    "PersonalKind",
    "Plan",
    "PromoteConfig",
    "Rules",
    "SearchConfig",
    "Section",
    "Settings",
    "SplitConfig",
    "TrainConfig",
    "ValidationConfig",
    "domain_file",
    "domains",
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
