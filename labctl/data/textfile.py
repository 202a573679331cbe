"""Read a text file of unknown origin: bounded in size, any usual encoding, never binary."""

from __future__ import annotations

from pathlib import Path

from labctl.model.errors import DataError
from labctl.model.regular import read_regular

_LARGEST = 256 << 20
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def read_text(path: Path) -> str:
    """Return the text of ``path`` (UTF-8, UTF-16 with a mark, else Latin-1), with "\\n" as line ends.

    :raises DataError: missing, empty, binary, or larger than 256 MB.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        raw = read_regular(path, _LARGEST)
    except (OSError, ValueError) as exc:
        raise DataError(f"cannot read {path}: {getattr(exc, 'strerror', None) or exc}") from exc
    text = _decoded(raw)
    if not text.strip():
        raise DataError(f"{path} is empty")
    if any(ord(character) < 32 and character not in "\t\n\r\f" for character in set(text)):
        raise DataError(f"{path} is binary, not a table", "give a run's .h5 or a CSV")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(raw: bytes) -> str:
    encoding = next((name for bom, name in _BOMS if raw.startswith(bom)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return raw.decode("latin-1")
