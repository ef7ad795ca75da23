"""What can be known of a base without its weights: tokenizer and configuration, in seconds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loramill.config import Base
from loramill.pack.base import find_base, load_tokenizer, token_ids
from loramill.pack.one_minute import Recipe, llama_config, one_minute_folder, train_tokenizer


@dataclass(frozen=True)
class BaseFacts:
    """A base model as its small files describe it."""

    name: str
    """Folder or hub id."""
    tokenizer: Any
    """A transformers tokenizer; fits `loramill.prompts.Tokenizer`."""
    config: Mapping[str, Any]
    """The text model's part of ``config.json``; empty where there is none."""
    stops: frozenset[int]
    """Token ids at which the base's own configuration ends an answer."""
    template: Mapping[str, bool | str]
    """Arguments of the chat template."""


def read_facts(base: Base) -> BaseFacts:
    """Read tokenizer and configuration of a base; the one-minute base's are made in a second if it is not there yet.

    Raises:
        BaseModelError: the base cannot be found, or its tokenizer cannot be read.
    """
    if base.source == "one-minute" and not (one_minute_folder(base.cache.resolve()) / "config.json").is_file():
        return _facts_before_making(base)
    folder = Path(base.source).expanduser()
    is_folder = base.source not in ("embedded", "one-minute") and folder.is_dir()  # weights are not asked for
    name = str(folder.resolve()) if is_folder else find_base(base, base.cache)
    tokenizer = load_tokenizer(base, name)
    config, generation = (_small_file(base, name, file) for file in ("config.json", "generation_config.json"))
    inner = config.get("text_config")
    text = inner if isinstance(inner, dict) else config
    return BaseFacts(
        name,
        tokenizer,
        text,
        token_ids(text.get("eos_token_id")) | token_ids(generation.get("eos_token_id")),
        dict(base.template),
    )


def _facts_before_making(base: Base) -> BaseFacts:
    tokenizer = train_tokenizer()
    config = llama_config(Recipe(), tokenizer).to_dict()
    return BaseFacts(
        "one-minute (not made yet)", tokenizer, config, token_ids(config.get("eos_token_id")), dict(base.template)
    )


def _small_file(base: Base, name: str, file: str) -> dict[str, Any]:
    """Return a JSON file of a folder or of the hub's cache; nothing where the base has none."""
    path: str | None = str(Path(name) / file)
    if not Path(name).is_dir():
        from transformers.utils.hub import cached_file

        path = cached_file(
            name,
            file,
            revision=base.revision or "main",
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    if path is None or not Path(path).is_file():
        return {}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
