"""What is searched: rank, alpha as a ratio to rank, and learning rate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loramill.config import SearchConfig, Settings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distributions(config: SearchConfig) -> dict[str, "BaseDistribution"]:
    """Return the space as Optuna sees it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        "rank": CategoricalDistribution(config.rank),
        "alpha_ratio": CategoricalDistribution(config.alpha_ratio),
        "learning_rate": FloatDistribution(config.learning_rate.low, config.learning_rate.high, log=True),
    }


def settings_of(params: Mapping[str, Any]) -> Settings:
    """Return a trial's proposal as settings."""
    return Settings.model_validate(params)
