"""Where each thing of a domain lies: the only paths there are besides ``dvc.yaml``, and a test compares the two."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The files of one domain below ``artifacts/``."""

    domain: str

    @property
    def root(self) -> Path:
        """The domain's folder."""
        return Path("artifacts") / self.domain

    @property
    def records(self) -> Path:
        """Clean rows."""
        return self.root / "records.jsonl"

    @property
    def splits(self) -> Path:
        """Train, validation, test."""
        return self.root / "splits"

    @property
    def settings(self) -> Path:
        """What the search found."""
        return self.root / "settings.yaml"

    @property
    def adapter(self) -> Path:
        """The last trained adapter."""
        return self.root / "adapter"

    @property
    def scores(self) -> Path:
        """Losses, answers and verdicts."""
        return self.root / "scores.json"

    def report(self, step: str) -> Path:
        """The report of a step."""
        return self.root / "reports" / f"{step}.json"
