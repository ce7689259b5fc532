"""The page of figures: each benchmark writes its own section, with the date and what it ran on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"

_TITLE = """\
# Performance

Each section below is written by the benchmark that it names (`--page`): figures are measured, not estimated.
"""

_BUSY = """
Other programs kept the cores busy meanwhile: whatever takes processor time took longer than on a machine of
its own, by the wall clock.
""".strip()


def machine() -> dict[str, Any]:
    """Return when and on what a benchmark runs."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "flwr": version("flwr"),
        "torch": version("torch"),
        "fedledger": version("fedledger"),
    }


def in_words(facts: dict[str, Any]) -> str:
    """Say when and on what a benchmark ran."""
    words = (
        f"{facts['date']}, {facts['cores']} cores (load average {facts['load']} when it began), Python "
        f"{facts['python']}, flwr {facts['flwr']}, torch {facts['torch']}, fedledger {facts['fedledger']}."
    )
    return f"{words} {_BUSY}" if facts["load"] > facts["cores"] else words


def write_section(page: Path, name: str, text: str) -> None:
    """Put a section in the place of the one of that name, or at the page's end."""
    content = page.read_text(encoding="utf-8") if page.exists() else _TITLE
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    section = f"{begin}{text.strip()}\n{end}"
    if begin in content:
        before, _, rest = content.partition(begin)
        content = f"{before}{section}{rest.partition(end)[2]}"
    else:
        content = f"{content}\n{section}"
    page.write_text(content, encoding="utf-8")
