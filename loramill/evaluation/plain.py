"""Plain words in Chinese and English, for a person who knows the domain and no machine learning."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loramill.evaluation.gates import Gate

TEMPLATES: Final = Path(__file__).parent / "templates"
LANGUAGES: Final = ("zh", "en")


def plain_words() -> dict[str, Any]:
    """Return all of ``templates/proof_words.yaml``."""
    import yaml

    content: dict[str, Any] = yaml.safe_load((TEMPLATES / "proof_words.yaml").read_text(encoding="utf-8"))
    return content


def told(gate: Gate, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a gate as ``promote.json`` holds it, with its sentence in both languages.

    ``passed`` is none where the configuration does not ask for the gate.
    """
    return {
        "name": gate.name,
        "passed": gate.is_passed,
        "measured": gate.is_measured,
        "value": gate.value,
        "limit": gate.limit,
        **{language: _filled(gate, plain, language) for language in LANGUAGES},
        "said": gate.said,
    }


def _filled(gate: Gate, plain: Mapping[str, Any], language: str) -> str:
    terms = plain["terms"]
    facts = {name: terms[fact][language] if fact in terms else fact for name, fact in gate.facts.items()}
    return str(plain["gates"][gate.kind][language].format_map(facts))
