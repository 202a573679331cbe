"""Options of a command, made from those of a plan: declared there, offered and read here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from labctl.model.errors import ConfigError
from labctl.model.options import Option
from labctl.model.plan import ADAPTIVE


def with_options(offered: Iterable[Option]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the options of a plan; it takes those that were typed as ``given``, a mapping by name.

    An option without a default is required.
    """
    made = {option.name: option for option in offered}

    def give(command: Callable[..., int]) -> Callable[..., int]:
        own = inspect.signature(command, eval_str=True)
        kept = [p.replace(kind=p.KEYWORD_ONLY) for p in own.parameters.values() if p.name != "given"]
        needed = [p for p in kept if p.default is p.empty]
        optional = [p for p in kept if p.default is not p.empty]
        parameters = [*needed, *map(_parameter, made.values()), *optional]

        @functools.wraps(command)
        def run(**values: Any) -> int:
            typed = {name: value for name in made if (value := values.pop(name)) is not None}
            try:
                return command(**values, given=typed)
            except ConfigError as exc:
                if exc.file is None and exc.key in made:
                    raise ConfigError(exc.reason, key=made[exc.key].flag, hint=exc.hint) from exc
                raise

        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return give


def _parameter(option: Option) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    if option.default is ...:
        return inspect.Parameter(option.name, kind, annotation=Annotated[Any, _text_option(option)])
    annotation = bool | None if option.kind == "yes" else Any
    made = _switch(option) if option.kind == "yes" else _text_option(option)
    return inspect.Parameter(option.name, kind, default=None, annotation=Annotated[annotation, made])


def _switch(option: Option) -> Any:
    flag = f"{option.flag}/--no-{option.flag[2:]}" if option.default else option.flag
    return typer.Option(flag, help=_help(option), show_default=False)


def _text_option(option: Option) -> Any:
    written = "" if option.default in (..., None, ()) else option.write(option.default)
    metavar = f"<{'|'.join(option.words) or option.shown_unit or 'number'}>"
    return typer.Option(
        option.flag,
        parser=reader(option),
        metavar=f"{metavar},..." if option.kind == "numbers" else metavar,
        help=_help(option),
        show_default=written or False,
    )


def _help(option: Option) -> str:
    if option.group != ADAPTIVE:
        return option.help
    return f"{ADAPTIVE}: {option.help[0].lower()}{option.help[1:]}"


def reader(option: Option) -> Callable[[str], Any]:
    """Return what reads an option's text, with a unit or without.

    :param option: of a plan; what it refuses is a mistake in the option of the command.
    """

    def read(text: str) -> Any:
        try:
            return option.read(str(text), _quantity)
        except ConfigError as exc:
            tried = f"; write it as {exc.hint}" if exc.hint else ""
            raise typer.BadParameter(f"{exc.reason}{tried}") from None

    return read


def _quantity(text: str, kind: str, unit: str) -> float:
    from labctl.config.units import typed  # which is slow to import

    return typed(text, kind, unit)
