"""What every rotation mount's table in the bench file says, and what is done about it when it opens."""

from __future__ import annotations

from typing import Annotated, Protocol, Self, TypeVar

from pydantic import Field, model_validator

from drivers.support.spec import VisaConfig
from labctl.model.clock import Stop


class RotationConfig(VisaConfig):
    """Keys of a rotation mount.

    :param home_at_connect: search the reference when the bench is opened.
    :param min_angle_deg: lowest angle that may be asked for; below the highest.
    :param max_angle_deg: highest angle that may be asked for.
    """

    home_at_connect: bool = False
    min_angle_deg: Annotated[float, Field(ge=-360, le=360)] = 0.0
    max_angle_deg: Annotated[float, Field(ge=-360, le=360)] = 360.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_angle_deg >= self.max_angle_deg:
            raise ValueError("min_angle_deg must be below max_angle_deg")
        return self


class Mount(Protocol):
    """A mount that was just opened."""

    def home(self, stop: Stop | None = None) -> None:
        """Search the reference."""

    def close(self) -> None:
        """Release the line."""


M = TypeVar("M", bound=Mount)


def homed_if_asked(mount: M, config: RotationConfig) -> M:
    """Return the mount, at its reference where its table asks for that; one that fails is closed."""
    if config.home_at_connect:
        try:
            mount.home()
        except BaseException:
            mount.close()
            raise
    return mount
