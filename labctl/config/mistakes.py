"""Mistakes in a bench file as a user reads them: key, reason, nearest valid key; all in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from labctl.model.errors import ConfigError


class Mistake(NamedTuple):
    """One thing wrong in a file."""

    key: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}" + (f" ({self.hint})" if self.hint else "")


def one_error(mistakes: Sequence[Mistake], file: Path | None) -> ConfigError:
    """Join all mistakes of a file into one error of one line."""
    if len(mistakes) == 1:
        only = mistakes[0]
        return ConfigError(only.reason, file=file, key=only.key, hint=only.hint)
    return ConfigError(f"{len(mistakes)} mistakes: " + "; ".join(map(str, mistakes)), file=file)


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return a hint naming the valid key nearest to ``word``, or all of them if none is near."""
    choices = list(valid)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"valid here: {', '.join(choices)}"


def mistakes_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Mistake]:
    """Translate pydantic's errors; ``prefix`` is the table the model was read from."""
    return [_translate(e, model, prefix) for e in error.errors(include_url=False)]


def _translate(error: Mapping[str, Any], model: type[BaseModel], prefix: str) -> Mistake:
    location = [str(part) for part in error["loc"] if not _is_tag(part)]
    key = ".".join(([prefix] if prefix else []) + location)
    kind, context = str(error["type"]), error.get("ctx") or {}
    if kind == "extra_forbidden":
        return Mistake(key, "unknown key", nearest(location[-1], _keys_at(model, error["loc"][:-1])))
    if kind == "missing":
        return Mistake(key, "missing")
    if kind == "value_error":
        return Mistake(key, str(context.get("error", error["msg"])))
    if kind == "literal_error":
        allowed = str(context.get("expected", ""))
        return Mistake(key, f"{_shown(error['input'])} is not one of {allowed}")
    message = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return Mistake(key, f"{_shown(error['input'])} should be {message}")


def _is_tag(part: object) -> bool:
    """Discriminator values turn up in pydantic's locations but are no keys of the file."""
    return part in {"malus", "table"}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(model: type[BaseModel], location: Sequence[object]) -> list[str]:
    """Return the valid keys of the table at ``location``."""
    current = [model]
    for part in location:
        if _is_tag(part):
            current = [m for m in current if part in get_args(m.model_fields["kind"].annotation)]
        else:
            fields = (m.model_fields.get(str(part)) for m in current)
            current = [inner for f in fields if f is not None for inner in _models_in(f.annotation)]
    return [key for m in current for key in m.model_fields]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]
