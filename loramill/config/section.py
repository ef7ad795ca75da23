"""What all sections of ``conf/`` have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen group of settings in which a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def as_switch(value: object) -> object:
    """YAML reads bare on and off as truth values; give the words back."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
