"""The parts of pages that are made from the code and from stored files, and so agree with them.

A page says where they go: a line ``<!-- labctl COMMAND -->`` becomes the help of that command, a line
``<!-- table KEY -->`` the keys of that table of the bench file, a line ``<!-- options KIND -->`` the options
of that kind of plan, a line ``<!-- hardware -->`` what each driver says of its devices. A notebook is read as
a page, with its stored outputs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx
from sphinx.util import logging
from typer.main import get_command
from typer.testing import CliRunner

from drivers import registry
from labctl.cli.app import command_line
from labctl.config import bench, tables
from labctl.model.options import Option, options
from labctl.model.plan import ShotsPlan, StabilityPlan, sweep_options

log = logging.getLogger(__name__)
COMMAND, TABLE = re.compile(r"^<!-- labctl ([a-z ]+) -->$", re.M), re.compile(r"^<!-- table (\S+) -->$", re.M)
HARDWARE = "<!-- hardware -->"
OPTIONS = re.compile(r"^<!-- options (\S+) -->$", re.M)

PLANS: dict[str, list[Option]] = {
    "sweep": list(sweep_options().values()),
    "shots": list(options(ShotsPlan).values()),
    "stability": [o for name, o in options(StabilityPlan).items() if name not in sweep_options()],
}
"""Options by the page that shows them."""

TABLES: dict[str, type[BaseModel]] = {
    "bench": bench.BenchTable,
    "pump": tables.PumpTable,
    "pump.spot": tables.SpotTable,
    "pump.attenuator_curve:malus": tables.MalusTable,
    "pump.attenuator_curve:table": tables.TableTable,
    "limits": tables.LimitsTable,
    "bands": tables.BandsTable,
    "collection": tables.CollectionTable,
    **{spec.key: spec.config for spec in registry.all_drivers()},
}


def commands() -> set[str]:
    """Return every command as it is typed, those of a group included."""
    names: set[str] = set()
    for name, command in get_command(command_line()).commands.items():  # type: ignore[attr-defined]
        names |= {f"{name} {sub}" for sub in getattr(command, "commands", {})} or {name}
    return names


def helped(command: str) -> str:
    """Return what ``labctl COMMAND --help`` prints."""
    shown = CliRunner().invoke(command_line(), [*command.split(), "--help"], prog_name="labctl", color=False)
    return f"```text\n{shown.output.strip()}\n```"


def keys(model: type[BaseModel]) -> str:
    """Return the keys of a table of the bench file as a table of the page."""
    lines = ["| key | value | default |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        lines.append(f"| `{name}` | {_value(field)} | {_default(field)} |")
    return "\n".join(lines)


def _value(field: FieldInfo) -> str:
    words, limits = _words(field.annotation)
    return ", ".join([words, *_limits(field.metadata), *limits])


def _words(kind: Any) -> tuple[str, list[str]]:
    """Say what kind of value it is, and between which limits."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        words, limits = _words(inner[0])
        metadata = [rule for extra in inner[1:] for rule in getattr(extra, "metadata", [extra])]
        return words, limits + _limits(metadata)
    if origin is Literal:
        return " or ".join(f"`{word}`" for word in inner), []
    if origin in (Union, UnionType):
        found = [_words(one) for one in inner if one is not NoneType]
        return " or ".join(dict.fromkeys(words for words, _ in found)), [
            limit for _, limits in found for limit in limits
        ]
    if origin is tuple:
        words, limits = _words(inner[0])
        return (f"list of {words}" if Ellipsis in inner else f"{len(inner)} of {words}"), limits
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "a table, below", []
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind))), []


def _limits(rules: list[Any]) -> list[str]:
    named = [(sign, getattr(rule, name, None)) for rule in rules for name, sign in _SIGNS.items()]
    return [f"{sign} {limit:g}" for sign, limit in named if limit is not None]


_WORDS: dict[Any, str] = {float: "number", int: "whole number", str: "text", bool: "true or false"}
_SIGNS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=False)
    if field.is_required() or default is PydanticUndefined:
        return "required"
    return "-" if default is None or default == "" else f"`{json.dumps(default, default=str)}`"


def offered(plan: list[Option]) -> str:
    """Return the options of a plan as a table of the page, group by group."""
    lines = ["| option | in window and Procedure | meaning | values | default |", "|---|---|---|---|---|"]
    for group in dict.fromkeys(option.group for option in plan):
        lines.append(f"| **{group}** | | | | |")
        lines += [_offered(option) for option in plan if option.group == group]
    return "\n".join(lines)


def _offered(option: Option) -> str:
    default = option.write(option.default) or "-"
    values = option.limits or option.unit or "yes or no"
    return f"| `{option.flag}` | {option.label} | {option.help} | {values} | {default} |"


def hardware() -> str:
    """Return what each driver says of its devices, role by role, and what is known not to work."""
    roles = ("attenuator", "power_meter", "spectrometer", "shutter", "stage", "heater", "thermometer")
    specs = [spec for role in roles for spec in registry.of_role(role) if spec.support is not None]
    lines = ["| role | key | devices | transports | tried on |", "|---|---|---|---|---|"]
    for spec in specs:
        role, known = spec.role.replace("_", " "), spec.support
        lines.append(f"| {role} | `{spec.key}` | {known.models} | {known.transports} | {known.tried} |")
    lines += ["", "## Known limits"]
    for spec in specs:
        if spec.support.limits:
            lines += ["", f"`{spec.key}`:", ""]
            lines += [f"- {limit}" for limit in spec.support.limits]
    return "\n".join(lines)


def as_page(notebook: dict[str, Any]) -> str:
    """Return a notebook, its stored outputs included, as Markdown."""
    return "\n\n".join(part for cell in notebook["cells"] for part in _parts(cell))


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
    for output in cell.get("outputs", []):
        if "text" in output:
            yield "```text\n" + "".join(output["text"]).rstrip() + "\n```"
        if picture := output.get("data", {}).get("image/png"):
            yield f"![The figure that this cell draws](data:image/png;base64,{''.join(picture).strip()})"


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Put in what a page asks for."""
    text = source[0]
    if os.fspath(app.env.doc2path(page)).endswith(".ipynb"):
        text = as_page(json.loads(text))
    if page == "command-line" and (missing := commands() ^ set(COMMAND.findall(text))):
        log.warning("the page and the command line differ in: %s", ", ".join(sorted(missing)), location=page)
    if page == "bench-file" and (missing := set(TABLES) ^ set(TABLE.findall(text))):
        log.warning("the page and the bench file differ in: %s", ", ".join(sorted(missing)), location=page)
    if page in PLANS and page not in OPTIONS.findall(text):
        log.warning("the page does not show the options of a plan: %s", page, location=page)
    text = OPTIONS.sub(lambda found: offered(PLANS[found[1]]), text)
    text = text.replace(HARDWARE, hardware()) if HARDWARE in text else text
    text = COMMAND.sub(lambda found: helped(found[1]), text)
    source[0] = TABLE.sub(lambda found: keys(TABLES[found[1]]), text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
