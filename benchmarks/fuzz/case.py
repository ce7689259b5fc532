"""One input, what became of it, and which laws it may break."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input.

    Args:
        kind: which reader it is for.
        parts: the files or texts that the reader is given.
        signed: what the fuzzer signed itself on the way to this input, with keys that it should not have:
            only this may be accepted besides what is true.
    """

    kind: str
    parts: tuple[bytes, ...]
    signed: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.parts))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a reader made of an input.

    Args:
        verdict: "accepted" or "refused".
        why: the flaw or the class of the error; of what was accepted, its kind.
        words: the message, without what belongs to this one input.
        features: what was reached; an input that reaches something new is worth mutating further.
        entry: number of the entry that was refused, where the reader names one.
    """

    verdict: str
    why: str
    words: str = ""
    features: tuple[Hashable, ...] = ()
    entry: int | None = None


class Violation(Exception):
    """A law was broken: the reader has a bug, or the law is wrong.

    Args:
        law: the law's short name.
        detail: what was seen.
    """

    def __init__(self, law: str, detail: str) -> None:
        super().__init__(f"{law}: {detail}")
        self.law = law


class Target(Protocol):
    """A set of readers under test."""

    name: str

    def seeds(self) -> Sequence[Case]:
        """Return inputs to begin from."""

    def mutate(self, case: Case, other: Case, random: Random) -> Case:
        """Return an input that differs from `case`, perhaps by parts of `other`."""

    def judge(self, case: Case) -> Outcome:
        """Read an input and hold what comes out against the laws, or raise Violation."""


def refused(error: Exception, why: str, entry: int | None = None) -> Outcome:
    """Return the outcome of a deliberate error, which has to be a printable line.

    Raises:
        Violation: when the message could break a screen or a log.
    """
    text = str(error)
    if not text or not text.isprintable():
        raise Violation("one-line", f"{type(error).__name__} says {text!r:.200}")
    if len(text) > _LONGEST:
        raise Violation("one-line", f"{type(error).__name__} says {len(text)} characters: {text!r:.100}")
    feature = ("refused", why, tuple(_places(error)))
    return Outcome(verdict="refused", why=why, words=shape(text), features=(feature,), entry=entry)


def shape(text: str) -> str:
    """Return a message without quoted values, hashes and numbers, for counting distinct ones."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text


_LONGEST = 2000
_VARYING = (
    (re.compile(r" = .* is not permitted"), " = ... is not permitted"),
    (re.compile(r"unknown setting .*: "), "unknown setting ...: "),
    (re.compile(r"/\S*/(tmp\w+)?"), ""),
    (re.compile(r"(?<!\w)['\"].*"), "'...'"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "#"),
    (re.compile(r"[-+]?\d[\d.e+-]*"), "0"),
    (re.compile(r"[\[{(].*"), "[...]"),
)


def _places(error: BaseException | None) -> Iterator[tuple[str, int]]:
    """Yield the innermost line of this project at which each error of a chain was raised."""
    while error is not None:
        trace, place = error.__traceback__, ("", 0)
        while trace is not None:
            if "/common/" in trace.tb_frame.f_code.co_filename:
                place = (trace.tb_frame.f_code.co_qualname, trace.tb_lineno)
            trace = trace.tb_next
        yield place
        error = error.__context__
