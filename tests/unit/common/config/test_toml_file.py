"""What is wrong in a TOML file is told by name and line."""

from __future__ import annotations

import pytest

from common.config.toml_file import read_tree
from common.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb = 2\na = 3\nc = 1\n", "line 3 sets a, which has a value already"),
        ("a = 1\na = 3", "line 2 sets a, which"),
        ("a = 1\n'b c' = 3\n'b c' = 4\n", "line 3 sets 'b c', which"),
        ("a = [1]\na = [\n 1,\n 2,\n]\n", "line 2 sets a, which"),
        ("[x]\na = 1\n[y]\n[x]\nb = 1\n", "line 4 sets [x], which"),
        ("a = 1\na.b = 2\n", "line 2 sets a.b, which"),
        ("a = {b = 1, b = 2}\n", "not valid TOML: "),
        ("a = \n", "not valid TOML: Invalid value (at line 1, column 5)"),
        ("a = " + "9" * 5000, "not valid TOML: Exceeds the limit"),
        ("a = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_a_flaw_is_told_with_its_place(tmp_path, text, said):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_tree(file, missing="write it")
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(file))


def test_a_file_that_is_missing_is_told_with_the_way_out(tmp_path):
    with pytest.raises(ConfigError, match="does not exist: write it"):
        read_tree(tmp_path / "x.toml", missing="write it")
