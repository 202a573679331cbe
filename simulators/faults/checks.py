"""Checks of a plan's keys and values; a mistake names the key, the reason and what was probably meant."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from simulators.faults.kinds import Rule

LONGEST_WORD = 200


class Mistake(Exception):  # noqa: N818  becomes a ConfigError once the file is known
    """Something wrong in a plan."""

    def __init__(self, key: str, reason: str, hint: str = "") -> None:
        super().__init__(key, reason, hint)
        self.key, self.reason, self.hint = key, reason, hint


def keys(table: Mapping[str, Any], valid: Iterable[str], where: str, what: str = "") -> None:
    """Refuse a key that is not known here."""
    allowed = tuple(valid)
    for key in table:
        if key not in allowed:
            reason = f"unknown key for {what}" if what else "unknown key"
            raise Mistake(f"{where}.{_short(key)}" if where else _short(key), reason, nearest(key, allowed))


def choice(table: Mapping[str, Any], key: str, valid: tuple[str, ...], where: str) -> str | None:
    """Return the word a key names, None without the key."""
    if key not in table:
        return None
    value = table[key]
    if not isinstance(value, str) or value not in valid:
        raise Mistake(f"{where}.{key}", f"{_shown(value)} is unknown", nearest(str(value), valid))
    return value


def read_number(value: object, rule: Rule, key: str) -> float | int | str:
    """Return a value that keeps its rule."""
    if rule.type == "word":
        return _word(value, rule, key)
    if isinstance(value, bool) or not isinstance(value, int if rule.type == "whole" else int | float):
        raise Mistake(key, f"{_shown(value)} should be a {'whole ' * (rule.type == 'whole')}number")
    if rule.endless and value == math.inf:
        return value
    if not rule.low <= value <= rule.high:
        limits = f"from {rule.low:g} to {rule.high:g}" + (" or inf" if rule.endless else "")
        raise Mistake(key, f"{_shown(value)} should be {limits}")
    return value if rule.type == "whole" else float(value)


def nearest(word: str, valid: tuple[str, ...]) -> str:
    """Return the valid word nearest to another, or all of them."""
    close = difflib.get_close_matches(word[:LONGEST_WORD], valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"valid here: {', '.join(valid)}"


def _word(value: object, rule: Rule, key: str) -> str:
    if not isinstance(value, str):
        raise Mistake(key, f"{_shown(value)} should be text")
    if rule.words and value not in rule.words:
        raise Mistake(key, f"{_shown(value)} is unknown", nearest(value, rule.words))
    if len(value) > LONGEST_WORD:
        raise Mistake(key, f"is longer than {LONGEST_WORD} characters")
    return value


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number that large"
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
