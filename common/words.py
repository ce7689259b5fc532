"""Counts with their nouns, as every room says them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun, such as '1 error' or '1,000 clients'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
