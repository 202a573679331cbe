"""Mistakes in a bench file as a user reads them: key, reason, nearest valid key; all in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from labctl.model.errors import ConfigError

_MEANT = "did you mean "


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
        reason = f"{only.reason}, {only.hint}" if only.hint else only.reason
        return ConfigError(reason, file=file, key=only.key)
    return ConfigError(f"{len(mistakes)} mistakes: " + "; ".join(map(str, mistakes)), file=file)


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return a hint naming the valid key nearest to ``word``, or all of them if none is near."""
    choices = list(valid)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"{_MEANT}{close[0]}?" if close else f"valid here: {', '.join(choices)}"


def mistakes_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Mistake]:
    """Translate pydantic's errors; ``prefix`` is the table the model was read from."""
    found = [_translate(e, model, prefix) for e in error.errors(include_url=False)]
    meant = {f"{_table(m.key)}{m.hint[len(_MEANT) : -1]}" for m in found if m.hint.startswith(_MEANT)}
    # A mistyped key is told once, not also as the key that is missing.
    return [m for m in found if not (m.reason == "missing" and m.key in meant)]


def _table(key: str) -> str:
    return key[: key.rfind(".") + 1]


def _translate(error: Mapping[str, Any], model: type[BaseModel], prefix: str) -> Mistake:
    location = [str(part) for part in error["loc"] if not _is_tag(part)]
    key = ".".join(([prefix] if prefix else []) + location)
    kind, context = str(error["type"]), error.get("ctx") or {}
    if kind == "extra_forbidden":
        return Mistake(key, "unknown key", nearest(location[-1], _keys_at(model, error["loc"][:-1])))
    if kind == "missing":
        if location[-1].isdecimal():  # an element of a list, counted from 0
            return Mistake(_table(key)[:-1], f"element {int(location[-1]) + 1} of the list is missing")
        return Mistake(key, "missing")
    if kind.startswith("union_tag"):
        return Mistake(f"{key}.kind", f"must be one of {_tags(model, error['loc'])}")
    if kind == "value_error":
        return Mistake(key, str(context.get("error", error["msg"])))
    if kind == "literal_error":
        allowed = str(context.get("expected", ""))
        return Mistake(key, f"{_shown(error['input'])} is not one of {allowed}")
    if kind == "string_pattern_mismatch":
        return Mistake(key, f"{_shown(error['input'])} is not of the form {context.get('pattern')}")
    message = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return Mistake(key, f"{_shown(error['input'])} should be {message}")


def _tags(model: type[BaseModel], location: Sequence[object]) -> str:
    *outer, name = location
    tables = [m.model_fields.get(str(name)) for m in _tables_at(model, outer)]
    kinds = [
        inner.model_fields["kind"] for f in tables if f is not None for inner in _models_in(f.annotation)
    ]
    return ", ".join(repr(tag) for kind in kinds for tag in get_args(kind.annotation))


def _is_tag(part: object) -> bool:
    """Discriminator values turn up in pydantic's locations but are no keys of the file."""
    return part in {"malus", "table"}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(model: type[BaseModel], location: Sequence[object]) -> list[str]:
    """Return the valid keys of the table at ``location``."""
    return [key for m in _tables_at(model, location) for key in m.model_fields]


def _tables_at(model: type[BaseModel], location: Sequence[object]) -> list[type[BaseModel]]:
    current = [model]
    for part in location:
        if _is_tag(part):
            current = [m for m in current if part in get_args(m.model_fields["kind"].annotation)]
        else:
            fields = (m.model_fields.get(str(part)) for m in current)
            current = [inner for f in fields if f is not None for inner in _models_in(f.annotation)]
    return current


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]
