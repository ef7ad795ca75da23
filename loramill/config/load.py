"""From the files of ``conf/`` to a `Plan`.

A domain's plan is ``conf/default.yaml``, over it the file of its base model in ``conf/bases/``, over it ``conf/<domain>.yaml``.
There is no other inheritance.
"""

from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from loramill.config.sections import Base, Plan, Settings
from loramill.config.tables import Articles, parse_articles
from loramill.errors import ConfigError


def domains(conf: Path = Path("conf")) -> list[str]:
    """Return the names of all domains: the files of ``conf/`` other than ``default.yaml``."""
    return sorted(path.stem for path in conf.glob("*.yaml") if path.stem != "default")


def domain_file(domain: str, conf: Path = Path("conf")) -> Path:
    """Return ``conf/<domain>.yaml``.

    Raises:
        ConfigError: there is no such domain.
    """
    if domain not in domains(conf):
        known = ", ".join(domains(conf)) or "none yet"
        raise ConfigError(
            f"unknown domain {domain!r}: a domain is a file conf/<name>.yaml (there are: {known}). "
            f"Make it with `loramill new {domain}`."
        )
    return conf / f"{domain}.yaml"


def load_plan(path: Path, conf: Path | None = None) -> Plan:
    """Read a domain's file over its base's file over ``default.yaml``.

    Args:
        path: the domain's file.
        conf: the folder with ``default.yaml`` and ``bases/``; the domain file's own folder if not given.

    Raises:
        ConfigError: all wrong keys and values at once.
    """
    conf = conf or path.parent
    domain, default = read_yaml(path), read_yaml(conf / "default.yaml")
    name = domain.get("base", default.get("base", "embedded"))
    layers = [_without_base(default), *_base_layers(name, conf), _without_base(domain)]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _over(merged, layer)
    if (merged.get("learning") or {}).get("method") == "qlora":
        merged["base"]["four_bit"] = True
    plan = parse_plan(merged, str(path))
    _check_tables(plan, path, conf.parent)
    return plan


def parse_plan(content: dict[str, Any], origin: str) -> Plan:
    """Turn plain values into a `Plan`.

    Raises:
        ConfigError: every wrong key and value, with ``origin``.
    """
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(detail)}" for detail in error.errors())
        raise ConfigError(f"{origin}: {error.error_count()} wrong\n{problems}") from error


def load_articles(path: Path) -> Articles:
    """Read a table of laws and their articles.

    Raises:
        ConfigError: it is missing, or a line cannot be read.
    """
    return parse_articles(path, read_yaml(path))


def read_settings(path: Path) -> Settings:
    """Read what the search left.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    try:
        return Settings.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(f"{str(path)!r} cannot be used ({error}); delete it and search again") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Raises:
        ConfigError: the file is missing, unreadable, or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{str(path)!r} must hold `key: value` lines, it holds a {type(content).__name__}")
    return content


def _check_tables(plan: Plan, path: Path, root: Path) -> None:
    """A table that is missing should be known before a training, not after it."""
    for rule in plan.evaluate.rules:
        try:
            if rule.cites:
                load_articles(root / rule.cites)
        except ConfigError as error:
            raise ConfigError(f"{path}: rule {rule.name!r}, cites: {error}") from error


def _base_layers(base: object, conf: Path) -> list[dict[str, Any]]:
    """Return what stands behind ``base:``: one word, or a mapping with ``source`` and what differs from its file."""
    own = base if isinstance(base, dict) else {"source": base}
    name = own.get("source")
    if not isinstance(name, str):
        raise ConfigError(f"base must be a name in conf/bases/, a folder or a hub id, got {base!r}")
    differs = {"base": {key: value for key, value in own.items() if key != "source"}}
    path = conf / "bases" / f"{name}.yaml"
    if not path.is_file():
        return [{"base": {"source": name}}, differs]
    content = read_yaml(path)
    known = sorted({*Base.model_fields, *Plan.model_fields} - {"base"})
    unknown = [f"  {key}: unknown key; allowed here: {', '.join(known)}" for key in content if key not in known]
    if unknown:
        raise ConfigError(f"{path}: {len(unknown)} wrong\n" + "\n".join(unknown))
    facts = {key: content[key] for key in content if key in Base.model_fields}
    sections = {key: content[key] for key in content if key not in Base.model_fields}
    return [{"base": facts, **sections}, differs]


def _without_base(layer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if key != "base"}


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the values of ``above`` on top; mappings merge, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _over(merged[key], value)
        elif value is not None or key not in merged:
            merged[key] = {} if value is None else value
    return merged


def _problem(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{place}: unknown key; allowed here: {', '.join(_allowed(detail['loc'][:-1]))}"
    return f"{place}: {detail['msg']}, got {detail['input']!r}"


def _allowed(place: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Plan
    for part in place:
        if isinstance(part, int):
            continue  # a place in a list; what its items are was found one step before
        annotation = model.model_fields[part].annotation
        inner = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return sorted(model.model_fields)
