from __future__ import annotations

import pytest

from common.errors import ConfigError
from common.names import require_known


def test_a_known_name_is_returned() -> None:
    assert require_known("fruit", "pear", ("apple", "pear")) == "pear"


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError) as caught:
        require_known("fruit", "Aple", ("pear", "apple"))
    assert str(caught.value) == "unknown fruit 'Aple': did you mean 'apple'? valid names are pear, apple"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(ConfigError, match=r"^unknown fruit 'xyz': valid names are pear$"):
        require_known("fruit", "xyz", ("pear",))
