"""Open the report in Chromium and read it as a person would: by eye, by keyboard, by ear, and on paper."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.audit import AuditReport, audit
from common.audit.diff import compare
from common.audit.diff_text import as_page
from common.audit.report_files import read_source
from common.audit.wording import delta_text, epsilon_text
from common.run_folder import RunFolder
from tests.browser.chromium import EXECUTABLE, Page, browser
from tests.run_folders import RunPlan, charge_and_release, write_run

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed on this machine")

_FOCUSED = (
    "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim()"
)
_COLOUR = "getComputedStyle(document.{}).{}"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the folder of a run whose first client was charged by another run too."""
    folder = write_run(tmp_path_factory.mktemp("run") / "run", RunPlan(logged=False))
    charge_and_release(folder, 0, 1, RunPlan(logged=False), run="run-2")
    return folder


@pytest.fixture(scope="module")
def report(folder: RunFolder) -> AuditReport:
    return audit(folder.root)


@pytest.fixture
def opened(page: Page, folder: RunFolder, report: AuditReport) -> Page:
    """Return the tab with the report, fresh, in a wide and light window."""
    page.emulate(scheme="light")
    page.resize(1200, 900)
    page.requests.clear()
    page.complaints.clear()
    page.open(folder.root / "report.html")
    return page


def _walk(page: Page, most: int = 200) -> list[str]:
    """Press the tabulator key until it has been everywhere, and return the names of the places."""
    names: list[str] = []
    for _ in range(most):
        page.press("Tab")
        name = page.evaluate(_FOCUSED)
        if page.evaluate("document.activeElement === document.body"):
            break
        names.append(name)
    return names


def _walk_to(page: Page, name: str) -> None:
    """Press the tabulator key until a place that begins with this name has the focus."""
    for _ in range(200):
        page.press("Tab")
        if str(page.evaluate(_FOCUSED)).startswith(name):
            return
    pytest.fail(f"the keyboard does not reach {name}")


def test_verdict_and_epsilon_are_on_the_page(opened: Page, folder: RunFolder) -> None:
    content = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    shown = epsilon_text(content["epsilon"])
    assert opened.text("#epsilon") == shown
    assert (
        opened.text("#verdict") == f"Verified: no client spent more than epsilon {shown} of its 8.00 budget"
    )
    assert opened.text("#accuracy") == "70.0 %"


def test_the_page_loads_nothing_and_complains_of_nothing(opened: Page, folder: RunFolder) -> None:
    assert opened.requests == [(folder.root / "report.html").as_uri()]
    assert opened.complaints == []


def test_a_screen_reader_hears_every_value_of_every_chart(opened: Page, report: AuditReport) -> None:
    heard = opened.accessible()
    images = [name for role, name in heard if role == "image"]
    groups = [name for role, name in heard if role == "group"]
    assert {
        "Epsilon at every delta",
        "Largest epsilon after each round",
        "Accuracy against epsilon",
        "What each run would have cost alone, and all together",
    } <= set(groups)
    for client in report.clients:
        spent = epsilon_text(client.epsilon)
        assert f"Client {client.partition_id}: epsilon {spent}, budget 8.00" in images
        assert f"What client {client.partition_id} can expect: 70.0 %" in images
    for entry in report.rounds:
        assert f"Round {entry.round}: epsilon {epsilon_text(entry.epsilon)}" in images
    for point in report.meaning.curve:
        assert f"Delta {delta_text(point.delta)}: epsilon {epsilon_text(point.epsilon)}" in images
    for part in report.breakdown.runs:
        assert any(
            name.endswith(f": epsilon {epsilon_text(part.epsilon)}") and part.run in name for name in images
        )
    assert f"All together: epsilon {epsilon_text(report.epsilon)}" in images
    last = report.rounds[-1]
    assert f"Epsilon {epsilon_text(last.epsilon)}: accuracy 70.0 %, round 3" in images


def test_every_chart_has_its_values_in_a_table_too(opened: Page, report: AuditReport) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    cells = set(opened.evaluate("[...document.querySelectorAll('td')].map(cell => cell.innerText.trim())"))
    values = [entry.epsilon for entry in report.rounds]
    values += [point.epsilon for point in report.meaning.curve]
    values += [part.epsilon for part in (*report.breakdown.runs, *report.breakdown.mechanisms)]
    assert {epsilon_text(value) for value in values} <= cells


def test_the_keyboard_reaches_contents_marks_and_tables(opened: Page, report: AuditReport) -> None:
    names = _walk(opened)
    assert names[0] == "What this means"
    assert f"Round 3: epsilon {epsilon_text(report.rounds[-1].epsilon)}" in names
    assert f"Client 1: epsilon {epsilon_text(report.clients[1].epsilon)}, budget 8.00" in names
    assert "The same as a table: epsilon and accuracy after each round" in names
    assert names[-1] == "Ledgers with their heads"


def test_whom_the_model_serves_is_read_off_the_page(opened: Page, report: AuditReport) -> None:
    assert report.fairness is not None
    assert opened.text("#worst-class") == "circle: 70.0 % of it is recognised"
    assert opened.text("#worst-client") == "client 0: accuracy 70.0 %"
    assert opened.text("#calibration") == "25.0 points"
    rows = "[...document.querySelector('#fairness').parentElement.querySelectorAll('tbody th')]"
    assert opened.evaluate(f"{rows}.map(cell => cell.innerText)") == ["0", "1"]


def test_a_mark_shows_its_name_only_while_it_has_the_focus(opened: Page) -> None:
    name = "Round 2: accuracy 60.0 %"
    shown = (
        "[...document.querySelectorAll('.readout')].filter(e => getComputedStyle(e).visibility === 'visible')"
        ".map(e => e.textContent)"
    )
    assert opened.evaluate(shown) == []
    _walk_to(opened, name)
    assert opened.evaluate(shown) == [name]


def test_a_table_behind_a_heading_opens_by_keyboard(opened: Page) -> None:
    rows = "document.querySelectorAll('details[open] tbody tr').length"
    assert opened.evaluate(rows) == 0
    _walk_to(opened, "The same as a table")
    opened.press("Enter")
    assert opened.evaluate(rows) == 3


def _luminance(colour: str) -> float:
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def test_the_page_is_dark_where_the_reader_wants_it_dark(opened: Page) -> None:
    for scheme, dark in (("light", False), ("dark", True)):
        opened.emulate(scheme=scheme)
        paper = _luminance(opened.evaluate(_COLOUR.format("body", "backgroundColor")))
        ink = _luminance(opened.evaluate(_COLOUR.format("body", "color")))
        assert (paper < 0.2, ink > 0.8) == (dark, dark)


def test_paper_is_white_and_shows_what_was_folded_away(opened: Page) -> None:
    opened.emulate(media="print", scheme="dark")
    assert opened.evaluate(_COLOUR.format("body", "backgroundColor")) == "rgb(255, 255, 255)"
    assert opened.evaluate(_COLOUR.format("querySelector('nav')", "display")) == "none"
    visible = "[...document.querySelectorAll('details tbody tr')].map(row => row.checkVisibility())"
    assert set(opened.evaluate(visible)) == {True}
    opened.emulate(scheme="light")
    assert set(opened.evaluate(visible)) == {False}


def test_the_report_can_be_printed(opened: Page, tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"
    opened.print(file)
    pages = re.findall(rb"/MediaBox ?\[([^\]]+)\]", file.read_bytes())
    assert len(pages) > 3
    width, height = (float(part) for part in pages[0].split()[2:])
    assert (round(width), round(height)) == (595, 842)  # A4 in points


def test_nothing_is_wider_than_a_telephone(opened: Page, tmp_path: Path) -> None:
    opened.resize(400, 800)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400
    opened.photograph(tmp_path / "narrow.png")
    assert (tmp_path / "narrow.png").stat().st_size > 20_000


def test_a_hostile_class_name_does_nothing(page: Page, tmp_path: Path) -> None:
    hostile = "</title></svg><img src=x onerror=\"document.title='taken'\">"
    folder = write_run(tmp_path / "run", RunPlan(classes=(hostile, "b"), logged=False))
    audit(folder.root)
    page.open(folder.root / "report.html")
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.evaluate("document.title").startswith("Verified")


def test_a_comparison_is_a_page_too(page: Page, folder: RunFolder, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", RunPlan(rounds=4, logged=False))
    file = tmp_path / "diff.html"
    file.write_text(as_page(compare(read_source(folder.root), read_source(other.root))), encoding="utf-8")
    page.complaints.clear()
    page.open(file)
    assert "rounds 3 4 +1" in page.text("table")
    assert page.complaints == []
