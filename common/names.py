"""Settings that take one of several names: one wording for every unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from common.errors import ConfigError


def require_known(setting: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is one of `known`.

    Raises:
        ConfigError: naming the setting, the nearest valid name and all of them.
    """
    names = list(known)
    if name in names:
        return name
    without_prefix = [one for one in names if one.endswith(f":{name}")]
    nearest = without_prefix or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise ConfigError(f"unknown {setting} {name!r}: {hint}valid names are {', '.join(names)}")
