"""Docs, dashboard and alerts ask for what there is, all of it, by labels it has."""

import re
from pathlib import Path
from typing import Any

import pytest

from kith.jobs import Kind, Lane, Outcome
from tests.dashboard_queries import Query, dashboard, of_alerts, of_panels, queries
from tests.every_metric import PROCESS, ROLES, Known, every_metric, metrics_of

#: Of every target (config/prometheus.yml), and of every histogram.
TARGETS, BUCKET = {"job", "instance", "service"}, "le"

#: Units of Grafana that stand in the dashboard.
UNITS = {"none", "short", "ops", "reqps", "s", "percentunit", "bytes"}


@pytest.fixture(scope="module")
def known() -> dict[str, Known]:
    """By the names that a query may use."""
    return {sample: metric for metric in every_metric().values() for sample in metric.samples}


class TestConventions:
    @pytest.mark.parametrize("role", ROLES)
    def test_names_follow_those_of_prometheus(self, role: str) -> None:
        for name, metric in metrics_of(role).items():
            assert re.fullmatch(r"kith_[a-z]+(_[a-z]+)*", name)
            assert name.endswith("_total") == (metric.kind == "counter")
            assert not re.search(r"_(ms|milliseconds|kb|mb|percent)(_|$)", name), "base units: seconds, bytes, ratios"
            assert metric.text.endswith("."), name

    def test_no_label_could_name_a_person(self) -> None:
        labels = {label for metric in every_metric().values() for label in metric.labels}

        assert not labels & {
            "subject",
            "subject_id",
            "person",
            "stranger",
            "track",
            "decision",
            "job_id",
            "path",
            "key",
        }


class TestDocs:
    def test_the_page_has_every_measurement_as_it_is_and_no_other(self, repository: Path) -> None:
        text = (repository / "docs" / "metrics.md").read_text()
        rows = re.findall(r"^\| `(kith_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", text, re.M)

        told = {
            name: Known(name, kind, tuple(re.findall(r"`(\w+)`", labels)), says) for name, kind, labels, says in rows
        }
        assert told == every_metric()
        assert len(rows) == len(told)


class TestQueries:
    @pytest.mark.parametrize("query", queries(), ids=lambda query: query.where)
    def test_each_asks_for_measurements_there_are_by_labels_they_have(
        self, query: Query, known: dict[str, Known]
    ) -> None:
        matched, grouped = query.asks()

        assert matched
        of_all: set[str] = set()
        for name, labels in matched.items():
            own = set() if name == "up" or name.startswith(PROCESS) else set(known[name].labels)
            own |= TARGETS | ({BUCKET} if name.endswith("_bucket") else set())
            assert labels <= own, f"{name} has no label {labels - own}"
            of_all |= own
        assert grouped <= of_all

    def test_every_measurement_there_is_is_shown_or_watched(self, known: dict[str, Known]) -> None:
        asked = {name for query in (*of_panels(), *of_alerts()) for name in query.asks()[0]}

        assert {metric.name for name, metric in known.items() if name in asked} == set(every_metric())

    def test_a_query_for_what_is_not_there_would_be_found(self, known: dict[str, Known]) -> None:
        matched, grouped = Query("", 'sum by (colour) (rate(kith_decisions_total{lane="live", shade="x"}[1m]))').asks()

        assert matched == {"kith_decisions_total": {"lane", "shade"}}
        assert grouped == {"colour"}
        assert "kith_decision_total" not in known

    def test_values_that_queries_name_exist(self) -> None:
        named = {
            (label, value)
            for query in queries()
            for label, values in re.findall(r'\b(lane|outcome|kind)=~?"([^"]*)"', query.text)
            for value in values.split("|")
        } - {("lane", ".*")}

        there = {"lane": set(Lane), "outcome": set(Outcome), "kind": set(Kind)}
        assert named
        assert all(value in there[label] for label, value in named)


class TestDashboard:
    def test_every_panel_says_what_it_shows_in_what_unit_and_from_which_source(self) -> None:
        for panel in shown():
            assert panel["description"].endswith((".", "?")), panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
            if panel["type"] != "heatmap":
                assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]

    def test_panels_have_ids_of_their_own_lie_within_24_columns_and_cover_no_other(self) -> None:
        panels = dashboard()["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24
            assert not cells & taken, panel["title"]
            taken |= cells

    def test_it_is_of_whichever_prometheus_and_installation_one_chooses(self) -> None:
        variables = {each["name"] for each in dashboard()["templating"]["list"]}

        assert {"datasource", "job", "camera", "lane"} <= variables
        assert all('job=~"$job"' in target["expr"] for panel in shown() for target in panel["targets"])

    def test_there_is_a_row_for_each_part_of_the_way(self) -> None:
        rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]

        assert rows == [
            *("At a glance", "Flow", "Latency", "Batches and models", "Galleries", "Cameras", "HTTP door", "Outward"),
            "Processes",
        ]


def shown() -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
