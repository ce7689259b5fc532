"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction01 = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Norm = Annotated[float, Field(ge=1e-6, le=1e6)]
Momentum = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


def _to_kebab(name: str) -> str:
    return name.replace("_", "-")


class Section(BaseModel):
    """One group of settings: frozen, strict about types, kebab-case outside and snake_case inside."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", alias_generator=_to_kebab, populate_by_name=True
    )
