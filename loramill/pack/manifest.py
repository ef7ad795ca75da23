"""The passport of an adapter: what it is, what it learnt from, and digests that tell when one of them changed."""

from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loramill.errors import AdapterError
from loramill.reports import digest_of_files, read_json, write_json

FILE = "loramill.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_config.json")
LIBRARIES = ("torch", "transformers", "peft", "loramill")


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
    """Write the passport into the adapter's folder."""
    return write_json(folder / FILE, asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Read the passport and check that the weights are still the ones it speaks of.

    Raises:
        AdapterError: no adapter, no passport, or changed weights.
    """
    digest = adapter_digest(folder)
    if not (folder / FILE).is_file():
        raise AdapterError(f"{str(folder)!r} has no {FILE}: it was not trained here, so its base cannot be checked")
    try:
        manifest = Manifest(**read_json(folder / FILE))
    except (ValueError, TypeError) as error:
        raise AdapterError(
            f"{str(folder / FILE)!r} is damaged or of another version ({error}); train it again"
        ) from error
    if manifest.digest != digest:
        raise AdapterError(
            f"{str(folder)!r} was changed after training: its files have digest {digest[:12]}, its manifest says "
            f"{manifest.digest[:12]}; restore it from MLflow or train it again"
        )
    return manifest


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape an adapter."""
    return {name: version(name) for name in LIBRARIES}
