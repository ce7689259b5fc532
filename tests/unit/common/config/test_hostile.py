"""Settings that somebody got badly wrong, or made so: one printable line, whatever they are."""

from __future__ import annotations

import pytest

from common.config import join_assignments, parse_assignment, read_toml, resolve, to_toml
from common.config.text import shown
from common.errors import ConfigError

DIGITS = "9" * 4301
"""More than Python reads or writes as a whole number."""


def _is_a_short_line(error: pytest.ExceptionInfo[ConfigError]) -> bool:
    return str(error.value).isprintable() and len(str(error.value)) < 700


@pytest.mark.parametrize(
    "content",
    [
        f"[privacy]\nepsilon = {DIGITS}",
        "[privacy]\nepsilon = " + "[" * 3000 + "]" * 3000,
        "[privacy]\nepsilon = 0x" + "f" * 4000,
        f"[privacy]\nepsilon = [0x{'f' * 4000}]",
        "[privacy]\nepsilon = '" + "a" * 5000 + "'",
        "[privacy]\n" + "e" * 5000 + " = 1",
        '[privacy]\n"epsilon\\n\\u001b[31m" = 1',
    ],
)
def test_a_file_is_refused_in_one_short_line(tmp_path, content):
    path = tmp_path / "settings.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        resolve(read_toml(path))
    assert _is_a_short_line(error)


@pytest.mark.parametrize(
    "text",
    [
        f"privacy.epsilon={DIGITS}",
        "privacy.epsilon=" + "[" * 3000 + "]" * 3000,
        "privacy.epsilon\udcff=1",
        "data.data-dir=\udcff",
        "x" * 5000,
    ],
)
def test_an_assignment_is_refused_in_one_short_line(text):
    with pytest.raises(ConfigError) as error:
        resolve(parse_assignment(text))
    assert _is_a_short_line(error)


def test_an_assignment_sets_one_thing():
    with pytest.raises(ConfigError, match="local-steps"):
        resolve(parse_assignment("training.local-steps=4\n[other]\nkey = 1"))


def test_huge_numbers_that_contradict_each_other_are_named_shortly():
    assignments = [parse_assignment(f"runtime.seed=0x{digit * 4000}") for digit in "ef"]
    with pytest.raises(ConfigError, match="given twice, as a huge int and as a huge int") as error:
        join_assignments(assignments)
    assert _is_a_short_line(error)


def test_whole_numbers_fit_into_64_bits():
    assert resolve({"federation.num-clients": 2**63 - 1}).federation.num_clients == 2**63 - 1
    with pytest.raises(ConfigError, match="num-clients = 9223372036854775808 is not permitted: .* 64 bits"):
        resolve({"federation.num-clients": 2**63})


@pytest.mark.parametrize(
    "name", ["a\nb", "tab\tend", "\x00\x1b\x7f", "\r\n", "\u0085\u2028", "é \U0001f600", '"\\"']
)
def test_any_text_reads_back_from_toml_as_it_was(tmp_path, name):
    config = resolve({"data.data-dir": name})
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert resolve(read_toml(path)) == config


@pytest.mark.parametrize(
    "steps", [10**30, 10**4000, 16**5000], ids=["31 digits", "4001 digits", "6021 digits"]
)
def test_a_huge_number_is_named_before_it_contradicts_another(steps):
    with pytest.raises(ConfigError, match=r"^training.local-steps = .* is not permitted") as error:
        resolve({"training.local-epochs": 2, "training.local-steps": steps})
    assert _is_a_short_line(error)


def test_a_range_that_fits_into_64_bits_is_said_once():
    with pytest.raises(ConfigError, match=r"give a whole number at least 0 and below 9223372036854775808$"):
        resolve({"runtime.seed": 2**63})
    with pytest.raises(ConfigError, match=r"give true or false$"):
        resolve({"privacy.enabled": 2**63})


def test_a_value_is_shown_in_one_line_of_limited_length():
    assert shown("a\nb") == "'a\\nb'"
    assert shown("x" * 1000).endswith("xxx...")
    assert len(shown("x" * 1000)) == 103
    assert shown(16**5000) == "a huge int"
