"""The page: says the right thing, escapes everything, loads nothing."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from common.audit import AuditReport, inspect_run
from common.audit.auditor import inspect
from common.audit.fairness import ClientUtility
from common.audit.html import render
from common.audit.wording import epsilon_text
from common.privacy.budget import PrivacyBudget
from common.privacy.filter import filter_order
from tests.run_folders import RunPlan, edit_counts, edit_recalls, write_run

_HOSTILE = '<script>alert("1")</script>'


class _Page(HTMLParser):
    """Collects the text of elements with an id, every tag, and every attribute that could load something."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.tags: list[str] = []
        self.loads: list[str] = []
        self._open: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if not (values.get("href") or "").startswith("#"):  # a place on this page loads nothing
            self.loads += [f"{tag} {name}" for name in values if name in {"src", "href", "srcset", "data"}]
        self.loads += [f"{tag} {name}" for name in values if name.startswith("on")]
        if tag not in self.VOID:
            self._open.append(values.get("id"))

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for name in filter(None, self._open):
            self.texts[name] = " ".join((self.texts.get(name, "") + " " + data).split())


def _report(tmp_path: Path, **plan: Any) -> AuditReport:
    return inspect_run(write_run(tmp_path, RunPlan(**plan)).root)


def test_a_verified_run_says_so_first(tmp_path: Path) -> None:
    report = _report(tmp_path)
    page = _Page(render(report))
    shown = epsilon_text(report.epsilon)
    assert page.texts["verdict"] == f"Verified: no client spent more than epsilon {shown} of its 8.00 budget"
    assert (page.texts["epsilon"], page.texts["delta"], page.texts["accuracy"]) == (shown, "1e-5", "70.0 %")
    assert "stamp" not in page.texts


def test_the_page_is_complete_and_loads_nothing(tmp_path: Path) -> None:
    text = render(_report(tmp_path))
    page = _Page(text)
    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text
    for heading in (
        "meaning",
        "clients",
        "spending",
        "rounds",
        "labels",
        "utility",
        "fairness",
        "findings",
        "claim",
        "how",
        "operations",
        "verify",
    ):
        assert heading in page.texts


def test_every_chart_has_a_name(tmp_path: Path) -> None:
    charts = re.findall(r'<svg class="(?:chart|bar)"[^>]*>', render(_report(tmp_path)))
    # The curve, three charts over rounds, two bars for each client, a bar for each class and for the one bin.
    assert len(charts) == 1 + 3 + 2 * 2 + 2 + 1
    assert all(re.search(r'aria-label="[^"]+"', chart) for chart in charts)


def test_the_contents_lead_to_every_section(tmp_path: Path) -> None:
    text = render(_report(tmp_path))
    names = re.findall(r'<a href="#([^"]+)"', text)
    assert names == re.findall(r'<section aria-labelledby="([^"]+)">', text)
    assert set(names) <= set(_Page(text).texts)


def test_the_worst_served_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    edit_recalls(folder, circle=0.25, square=0.75)
    edit_counts(folder, [10, 40], [40, 10])
    page = _Page(render(inspect_run(folder.root)))
    assert page.texts["worst-class"] == "circle: 25.0 % of it is recognised"
    assert (
        page.texts["worst-client"] == "client 1: accuracy 35.0 %"
    )  # 0.8 * 0.25 + 0.2 * 0.75; client 0 has 65 %
    assert page.texts["calibration"] == "25.0 points"


def test_where_label_counts_never_left_the_clients_none_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    folder.partitions.unlink()
    text = render(inspect_run(folder.root))
    page = _Page(text)
    assert "fairness" in page.texts
    assert "worst-client" not in page.texts
    assert "never leaves it" in text


def test_of_many_clients_those_that_can_expect_least_are_listed(tmp_path: Path) -> None:
    report = _report(tmp_path, clients=1)
    crowd = tuple(ClientUtility(partition_id=i, accuracy=i / 100) for i in range(50))
    fairness = dataclasses.replace(report.fairness, clients=crowd)
    rows = render(dataclasses.replace(report, fairness=fairness)).partition("What each client can expect")[2]
    listed = re.findall(r'<th scope="row">(\d+)</th>', rows.partition("</table>")[0])
    assert listed == [str(number) for number in range(24)]
    assert "the 24 of 50 clients that can expect least" in rows


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    report = _report(tmp_path, classes=(_HOSTILE, "b"), dataset=_HOSTILE)
    hostile = dataclasses.replace(
        report,
        run=_HOSTILE,
        settings=report.settings | {"data.data-dir": _HOSTILE},
        versions={**report.versions, "torch": _HOSTILE},
    )
    text = render(hostile)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6


def test_errors_are_named_beside_the_verdict(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    folder.model.write_text("other", encoding="utf-8")
    text = render(inspect_run(folder.root))
    assert _Page(text).texts["verdict"] == "NOT verified: 1 error in the records of this run"
    assert "The model in the run folder is not the one" in text.partition("</section>")[0]
    assert "Do not rely on the figures" in text


def test_a_run_without_a_guarantee_is_stamped(tmp_path: Path) -> None:
    page = _Page(render(_report(tmp_path, settings={"privacy.enabled": False})))
    assert page.texts["stamp"] == "NOT PRIVATE"
    assert "promise no protection" in page.texts["verdict"]
    assert page.texts["epsilon"] == "no limit"


def test_of_many_clients_the_page_lists_those_that_spent_most(tmp_path: Path) -> None:
    report = _report(tmp_path, clients=2)
    first, second = report.clients
    many = [dataclasses.replace(first, partition_id=i, epsilon=1 + i / 100) for i in range(98)]
    crowd = dataclasses.replace(report, clients=(*many, second, dataclasses.replace(first, epsilon=3.0)))
    text = render(crowd)
    rows = text.partition('class="spent"')[2].partition("</table>")[0]
    assert rows.count('<th scope="row">') == 20
    assert "How much the clients spent" in text
    assert '<th scope="row">97</th>' in rows
    assert '<th scope="row">5</th>' not in rows


@pytest.mark.parametrize("rounds", [0, 1])
def test_the_shortest_runs_have_a_page(tmp_path: Path, rounds: int) -> None:
    report = _report(tmp_path, rounds=rounds)
    assert "Verified" in _Page(render(report)).texts["verdict"]


def test_a_page_without_any_readable_ledger(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan(clients=1))
    folder.ledger(0).write_text("{}\n", encoding="utf-8")
    for optional in (folder.evaluation, folder.partitions):
        optional.unlink()
    page = _Page(render(inspect_run(folder.root)))
    assert page.texts["verdict"].startswith("NOT verified")
    assert "labels" not in page.texts
    assert "utility" not in page.texts
    assert "fairness" not in page.texts


def test_where_a_filter_is_the_guarantee_the_page_says_so(tmp_path: Path) -> None:
    order = filter_order(PrivacyBudget(epsilon=8.0, delta=1e-5))
    report = _report(tmp_path, genesis={"filter_order": order})
    text = render(report)
    page = _Page(text)
    assert (
        page.texts["verdict"]
        == "Verified: the budgets that the ledgers enforce limit every client to epsilon 8.00"
    )
    assert (page.texts["guarantee"], page.texts["epsilon"]) == ("8.00", epsilon_text(report.epsilon))
    assert "Settings of these ledgers may change in view of earlier results" in text
    assert "bell curves" not in text
    assert "nearly all" in text


def test_ledgers_and_a_log_have_pages_without_what_only_a_run_has(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    ledgers, log = (render(inspect(folder.root / name)) for name in ("ledgers", "server"))
    assert ("accuracy" in _Page(ledgers).texts, "epsilon" in _Page(ledgers).texts) == (False, True)
    assert ("epsilon" in _Page(log).texts, "claim" in _Page(log).texts) == (False, False)
    for text in (ledgers, log):
        assert re.findall(r'<a href="#([^"]+)"', text) == re.findall(
            r'<section aria-labelledby="([^"]+)">', text
        )
    assert "fedledger.server/" in log
