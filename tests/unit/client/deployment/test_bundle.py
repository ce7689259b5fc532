"""A bundle is compared, never run: not one line of it is imported."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile

import pytest

from client.deployment.bundle import BundleJudge, read_sources
from common.code import code_digest, installed_sources, source_digest
from common.errors import PolicyRefused
from common.flower_internals.bundle import build_bundle

HOSTILE = b"import sys\nsys.modules['hostile_was_here'] = sys\n"


@pytest.fixture(scope="module")
def own() -> bytes:
    return build_bundle()


@pytest.fixture
def judge() -> BundleJudge:
    return BundleJudge(frozenset({"installed"}))


def changed(bundle: bytes, **files: bytes | None) -> bytes:
    """Return a bundle with files replaced, added or (None) left out; `__` stands for `/`."""
    changes = {name.replace("__", "/").replace("_dot_", "."): data for name, data in files.items()}
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | changes
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    return output.getvalue()


def test_what_flower_bundles_of_this_installation_is_permitted(own, judge):
    judge.refuse_unknown(own)
    assert source_digest(read_sources(own)) == code_digest()


def test_settings_may_differ_since_the_policy_judges_them(own, judge):
    judge.refuse_unknown(changed(own, pyproject_dot_toml=b"[tool]\n"))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"client__trainer_dot_py": HOSTILE}, "client/trainer.py differs"),
        ({"client__policy_dot_py": None}, "client/policy.py is missing"),
        ({"client__extra_dot_py": HOSTILE}, "client/extra.py is not installed here"),
        ({"sitecustomize_dot_py": HOSTILE}, "sitecustomize.py, which none of ours does"),
        ({"client__native_dot_so": HOSTILE}, "client/native.so, which none of ours does"),
        ({"common__data_dot_json": b"{}"}, "common/data.json, which none of ours does"),
    ],
)
def test_any_other_code_is_refused_without_being_imported(own, judge, files, words):
    with pytest.raises(PolicyRefused) as refused:
        judge.refuse_unknown(changed(own, **files))
    assert words in str(refused.value)
    assert "hostile_was_here" not in sys.modules


def test_the_first_of_two_files_of_one_name_hides_nothing(own, judge):
    output = io.BytesIO(changed(own))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(output, "a") as archive:
        archive.writestr("client/trainer.py", HOSTILE)
    with pytest.raises(PolicyRefused, match="two files of one name"):
        judge.refuse_unknown(output.getvalue())


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip file at all", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(judge, data):
    with pytest.raises(PolicyRefused):
        judge.refuse_unknown(data)


def test_a_damaged_bundle_is_refused(own, judge):
    for place in range(0, len(own), len(own) // 50):
        broken = bytearray(own)
        broken[place] ^= 0xFF
        try:
            judge.refuse_unknown(bytes(broken))
        except PolicyRefused:
            continue
        assert read_sources(bytes(broken)) == installed_sources()  # the damage was in what is not code


def test_a_bundle_that_swells_is_refused_before_it_is_unpacked(judge):
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("client/zeros.py", bytes(65 * 2**20))
    assert len(output.getvalue()) < 2**20
    with pytest.raises(PolicyRefused, match="larger than any of ours"):
        judge.refuse_unknown(output.getvalue())


def test_a_bundle_that_claims_less_than_it_holds_is_refused(judge):
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("client/zeros.py", bytes(2**20))
    data = output.getvalue().replace((2**20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(PolicyRefused, match="not a readable bundle"):
        judge.refuse_unknown(data)


def test_only_pinned_bundles_are_answered_where_only_they_are_permitted(own):
    other = changed(own, client__trainer_dot_py=HOSTILE)
    judge = BundleJudge(frozenset({hashlib.sha256(other).hexdigest()}))
    judge.refuse_unknown(other)  # spoken to, and still not run
    with pytest.raises(PolicyRefused, match="not among the permitted-apps"):
        judge.refuse_unknown(own)
    with pytest.raises(PolicyRefused, match="not among"):
        BundleJudge(frozenset()).refuse_unknown(own)


def test_a_name_with_control_characters_cannot_write_to_a_terminal(own, judge):
    bundle = changed(own)
    output = io.BytesIO(bundle)
    with zipfile.ZipFile(output, "a") as archive:
        archive.writestr("client/\x1b[2Jx\n.py", b"")
    with pytest.raises(PolicyRefused) as refused:
        judge.refuse_unknown(output.getvalue())
    assert "\x1b" not in str(refused.value)
    assert "\n" not in str(refused.value)
