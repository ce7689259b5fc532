"""The one table of an export: for the screen, for people (Markdown) and for programs (JSON)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from common.trained.exporting import Export
from common.trained.measuring import Measured

_HEAD = ("variant", "KB", "KB zipped", "images/s", "accuracy", "largest difference")
_WIDTHS = (44, 8, 10, 9, 9, 19)


def head_line() -> str:
    """Return the table's first line on a screen."""
    return _aligned(_HEAD)


def row_line(row: Measured) -> str:
    """Return one line of the table on a screen."""
    return _aligned(_cells(row))


def as_markdown(export: Export, about: dict[str, Any]) -> str:
    """Return the table with what it is about.

    Args:
        export: what was written.
        about: what every file says of itself.
    """
    lines = [
        f"# {about['run']}, model {about['model']}",
        "",
        f"{export.standing.verdict}. {_promise(export)}",
        "",
        f"Measured on {export.num_images:,} public test images, in batches of 32, on this machine. "
        "The difference is that of any score from the original's.",
        "",
        f"| {' | '.join((*_HEAD, 'file'))} |",
        f"|{'---|' * (len(_HEAD) + 1)}",
        *(
            f"| {' | '.join((*_cells(row), row.file or 'model.safetensors of the run'))} |"
            for row in export.rows
        ),
        "",
        "int8 weights and pruning are computed on the released model alone, and cost no privacy "
        "(post-processing).",
    ]
    return "\n".join(lines) + "\n"


def as_record(export: Export, about: dict[str, Any]) -> dict[str, Any]:
    """Return the table for programs, after what every file says of itself."""
    return about | {"num_images": export.num_images, "files": [asdict(row) for row in export.rows]}


def _promise(export: Export) -> str:
    if export.standing.epsilon is None:
        return "The files carry no epsilon."
    return f"Epsilon {export.standing.epsilon:.4f} at delta {export.standing.delta:g}."


def _cells(row: Measured) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.size_bytes / 1024:.0f}",
        f"{row.zipped_bytes / 1024:.0f}",
        f"{row.images_per_second:.0f}",
        f"{100 * row.accuracy:.2f} %",
        f"{row.largest_difference:.2g}",
    )


def _aligned(cells: tuple[str, ...]) -> str:
    first, *others = cells
    width, *widths = _WIDTHS
    return f"{first:<{width}}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(others, widths, strict=True)
    )
