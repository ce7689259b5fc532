"""TOML files that people write, with what is wrong in them told so that they can find it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from common.errors import ConfigError

_TWICE = re.compile(
    r"Cannot (?:overwrite a value|declare .* twice) \(at (?:line (?P<line>\d+)|end of document)"
)
_NAME = re.compile(r"\s*(?P<name>\[[^]]*\]|(?:'[^']*'|\"[^\"]*\"|[\w.-])+(?=\s*=))")
_LONGEST = 60


def read_tree(path: Path, *, missing: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        missing: what follows "FILE does not exist: ".

    Raises:
        ConfigError: when it is missing, unreadable or not TOML; says where, and names what is set twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: {missing}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__}): give a TOML text file") from None
    except ValueError as error:  # not only TOMLDecodeError: numbers may have too many digits
        raise ConfigError(f"{path} is not valid TOML: {_flaw(text, str(error))}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply: give settings in sections") from None


def _flaw(text: str, error: str) -> str:
    """Return an error of tomllib, which names no key that is there twice, with that key."""
    twice = _TWICE.match(error)
    if twice is None:
        return f"{error:.200}"
    until = text.splitlines()[: int(twice["line"]) if twice["line"] else None]
    named = [(number, match["name"]) for number, line in enumerate(until, 1) if (match := _NAME.match(line))]
    if not named:
        return f"{error:.200}"
    number, name = named[-1]  # a value may go on over lines that name nothing
    return f"line {number} sets {name:.{_LONGEST}}, which has a value already: keep one of the two"
