"""Options that several commands on a trained run share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WeightsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Weights of the run's backbone, if no longer where the run had them."),
]
