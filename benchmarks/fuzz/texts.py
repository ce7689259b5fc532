"""Changes to bytes and lines, for every format alike."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from benchmarks.fuzz.values import RAW, deep, to_text

Change = Callable[[bytes, bytes, Random], bytes]

_BYTES = b'\x00\n\r\t "\\{}[]:,=+-.0123456789aefnAZ\x7f\x80\xc3\xff'
_CHUNKS = (
    b"\r\n",
    b"\n\n",
    b"\n",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\\u0061",
    b'"a":1,',
    b"null",
    b"  ",
    b"\x00" * 40,
)


def mutate_bytes(data: bytes, other: bytes, random: Random) -> bytes:
    """Return bytes with one to three changes; parts of `other` may be taken over."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = random.choice(_CHANGES)(data, other, random)
    return data


def _span(size: int, random: Random) -> tuple[int, int]:
    start = random.randrange(size + 1)
    return start, min(size, start + random.choice((1, 1, 2, 4, 16, 64, 300, 2000)))


def _flip(data: bytes, _: bytes, random: Random) -> bytes:
    if not data:
        return b"\n"
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _set(data: bytes, _: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes([random.choice(_BYTES)]) + data[at + 1 :]


def _insert(data: bytes, _: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice((bytes([random.choice(_BYTES)]), random.choice(_CHUNKS))) + data[at:]


def _insert_raw(data: bytes, _: bytes, random: Random) -> bytes:
    at, raw = random.randrange(len(data) + 1), random.choice(RAW)
    text = to_text(deep(random)) if random.random() < 0.1 else raw
    return data[:at] + text.encode() + data[at + random.randrange(3) :]


def _cut(data: bytes, _: bytes, random: Random) -> bytes:
    start, stop = _span(len(data), random)
    return data[:start] + data[stop:]


def _repeat(data: bytes, _: bytes, random: Random) -> bytes:
    start, stop = _span(len(data), random)
    return data[:stop] + data[start:stop] * random.choice((1, 1, 2, 20)) + data[stop:]


def _splice(data: bytes, other: bytes, random: Random) -> bytes:
    """Go on with another input from some place."""
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _copy(data: bytes, other: bytes, random: Random) -> bytes:
    """Overwrite a part by the same part of another input."""
    start, stop = _span(len(data), random)
    return data[:start] + other[start:stop] + data[stop:]


def _truncate(data: bytes, _: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _truncate_lines(data: bytes, _: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    return b"\n".join(lines[: random.randrange(len(lines) + 1)]) + random.choice((b"", b"\n"))


def _on_lines(change: Callable[[list[bytes], list[bytes], Random], None]) -> Change:
    def changed(data: bytes, other: bytes, random: Random) -> bytes:
        lines, others = data.split(b"\n"), other.split(b"\n")
        change(lines, others, random)
        return b"\n".join(lines)

    return changed


def _drop_line(lines: list[bytes], _: list[bytes], random: Random) -> None:
    del lines[random.randrange(len(lines))]


def _double_line(lines: list[bytes], _: list[bytes], random: Random) -> None:
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))


def _take_line(lines: list[bytes], others: list[bytes], random: Random) -> None:
    lines.insert(random.randrange(len(lines) + 1), random.choice(others))


def _replace_line(lines: list[bytes], others: list[bytes], random: Random) -> None:
    lines[random.randrange(len(lines))] = random.choice(others)


def _same_line(lines: list[bytes], others: list[bytes], random: Random) -> None:
    """Take the line at the same place of another input."""
    at = random.randrange(min(len(lines), len(others)))
    lines[at] = others[at]


def _exchange_lines(lines: list[bytes], _: list[bytes], random: Random) -> None:
    first, second = random.randrange(len(lines)), random.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]


def _follow(lines: list[bytes], others: list[bytes], random: Random) -> None:
    """Go on with another input from the same line, as a fork does."""
    at = random.randrange(len(lines))
    lines[at:] = others[at:]


def _crlf(data: bytes, _: bytes, random: Random) -> bytes:
    return data.replace(
        b"\n", random.choice((b"\r\n", b"\r", b"\n\n", b" \n", b"")), random.choice((1, 2, -1))
    )


_CHANGES: tuple[Change, ...] = (
    *(_flip, _flip, _flip, _set, _set, _insert, _insert, _insert_raw, _cut, _cut, _repeat, _splice, _copy),
    *(_truncate, _truncate_lines, _crlf),
    *map(
        _on_lines, (_drop_line, _double_line, _take_line, _replace_line, _same_line, _exchange_lines, _follow)
    ),
)
