"""The passport of an adapter: what it is, what it learnt from, and digests that tell when one of them changed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

from loramill.errors import AdapterError
from loramill.prompts import template_digest
from loramill.reports import digest_of_files, read_json, write_json

FILE = "loramill.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_config.json")
LIBRARIES = ("torch", "transformers", "peft", "loramill")
FORMAT: Final = 2
"""What is written today. A manifest of format 1 has no seal, tokenizer, recipe and scores, and is read all the same."""
SAID: Final = "A 1 1st, 依据《劳动法》第九十四条。\n\t¿Ünïcode? 🙂"
"""What a tokenizer is asked to cut, to tell when it cuts otherwise."""


@dataclass(frozen=True)
class Manifest:
    """Facts about one trained adapter."""

    digest: str
    """sha256 over its weights and PEFT configuration: its name for ever."""
    domain: str
    base: str
    base_digest: str
    template_digest: str
    shape: dict[str, Any]
    training: dict[str, Any]
    """Settings that it was trained with."""
    rows_digest: str
    """sha256 over the ids of its training rows."""
    rows: list[str]
    """Ids of its training rows."""
    started_from: str | None
    """Digest of the adapter whose weights it started from."""
    validation_loss: float | None
    libraries: dict[str, str] = field(default_factory=dict)
    tokenizer_digest: str = ""
    """sha256 over vocabulary and cuts of the base's tokenizer; empty if it was not kept."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """What besides settings is needed to train it again: base section, files of rows, versions of data and code."""
    scores: dict[str, Any] = field(default_factory=dict)
    """What the test rows said, known only in the registered copy."""
    format: int = 1


class Base(Protocol):
    """What is needed of a base in memory."""

    @property
    def name(self) -> str:
        """Folder or hub id."""

    @property
    def digest(self) -> str:
        """sha256 over weights and configuration."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""

    @property
    def template(self) -> dict[str, bool | str]:
        """Arguments of its chat template."""


def adapter_digest(folder: Path) -> str:
    """Return the digest of an adapter's weights and configuration.

    Raises:
        AdapterError: the folder holds no adapter.
    """
    missing = [name for name in WEIGHTS if not (folder / name).is_file()]
    if missing:
        raise AdapterError(f"{str(folder)!r} is no adapter folder: it lacks {', '.join(missing)}; train one first")
    return digest_of_files([folder / name for name in WEIGHTS])


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the passport into the adapter's folder, sealed: a change by hand is noticed when it is read."""
    content = asdict(replace(manifest, format=FORMAT))
    return write_json(folder / FILE, {**content, "seal": _seal(content)})


def read_manifest(folder: Path) -> Manifest:
    """Read the passport; check that nobody changed it, and that the weights are still the ones it speaks of.

    Raises:
        AdapterError: no adapter, no passport, a passport of a later loramill, or one that was changed; changed weights.
    """
    digest = adapter_digest(folder)
    path = folder / FILE
    if not path.is_file():
        raise AdapterError(f"{str(folder)!r} has no {FILE}: it was not trained here, so its base cannot be checked")
    manifest = _parsed(path)
    if manifest.digest != digest:
        raise AdapterError(
            f"{str(folder)!r} was changed after training: its files have digest {digest[:12]}, its manifest says "
            f"{manifest.digest[:12]}; restore it from MLflow or train it again"
        )
    return manifest


def check_base(manifest: Manifest, base: Base, folder: Path) -> None:
    """Check that an adapter meets the base, the tokenizer and the chat template that it was trained with.

    Raises:
        AdapterError: one of them is another; what an older manifest does not name is not asked for.
    """
    if manifest.base_digest != base.digest:
        raise AdapterError(
            f"adapter {str(folder)!r} was trained on base {manifest.base} (digest {manifest.base_digest[:12]}), "
            f"this base is {base.name} (digest {base.digest[:12]}); train it again on this base"
        )
    here = {
        "chat template": (manifest.template_digest, template_digest(base.tokenizer, base.template)),
        "tokenizer": (manifest.tokenizer_digest, tokenizer_digest(base.tokenizer) if manifest.tokenizer_digest else ""),
    }
    for name, (then, now) in here.items():
        if then != now:
            raise AdapterError(
                f"adapter {str(folder)!r} was trained with another {name} (digest {then[:12]}) than {base.name} has now "
                f"({now[:12]}): it would be asked otherwise than it learnt; set base.template and base.stop_token in conf/ as "
                "they were (`loramill trace` shows them), or train it again"
            )


def tokenizer_digest(tokenizer: Any) -> str:
    """Return a sha256 over what a tokenizer knows, how it cuts a text of many kinds, and the token that ends an answer."""
    return _hash([_known(tokenizer), tokenizer.eos_token])


@lru_cache(maxsize=4)
def _known(tokenizer: Any) -> str:
    """A vocabulary is large, and a server asks for each of its adapters."""
    return _hash([sorted(tokenizer.get_vocab().items()), tokenizer.encode(SAID, add_special_tokens=False)])


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape an adapter."""
    return {name: version(name) for name in LIBRARIES}


def _parsed(path: Path) -> Manifest:
    try:
        content = dict(read_json(path))
        seal = content.pop("seal", None)
        known = {each.name for each in fields(Manifest)}
        if int(content.get("format", 1)) > FORMAT or not content.keys() <= known:
            later = ", ".join(sorted(content.keys() - known)) or f"format {content['format']}"
            raise AdapterError(f"{str(path)!r} was written by a later loramill ({later}); update loramill to read it")
        manifest = Manifest(**content)
    except (ValueError, TypeError) as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(f"{str(path)!r} is damaged ({error}); restore it from MLflow or train it again") from error
    if manifest.format > 1 and seal != _seal(content):
        raise AdapterError(f"{str(path)!r} was changed after it was written; restore it from MLflow or train it again")
    return manifest


def _seal(content: Mapping[str, Any]) -> str:
    return _hash(content)


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True, default=str).encode()).hexdigest()
