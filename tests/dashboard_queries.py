"""What dashboard and alerts ask Prometheus: each query, where it stands, and the measurements and labels in it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
DASHBOARD = ROOT / "config" / "grafana" / "dashboards" / "kith.json"
RULES = ROOT / "config" / "prometheus" / "kith.rules.yml"

#: What Grafana puts in the place of its variables, when all is chosen.
_CHOSEN = {"$__rate_interval": "1m", "$job": ".*", "$lane": ".*", "$camera": ".*"}


@dataclass(frozen=True, slots=True)
class Query:
    """where: panel or alert. text: as Prometheus is asked."""

    where: str
    text: str

    def asks(self) -> tuple[dict[str, set[str]], set[str]]:
        """Measurements, each with the labels it is matched by, and the labels that are grouped by. Raises ValueError
        for what is no PromQL."""
        matched: dict[str, set[str]] = {}
        grouped: set[str] = set()
        _collect(promql_parser.parse(self.text), matched, grouped)
        return matched, grouped


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def queries() -> list[Query]:
    """All of them, those of the dashboard's variables included."""
    return [*of_panels(), *_of_variables(), *of_alerts()]


def of_panels() -> list[Query]:
    """Of the dashboard."""
    return [
        Query(f"panel {panel['title']}", _chosen(target["expr"]))
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    ]


def of_alerts() -> list[Query]:
    """Of the rules."""
    groups = YAML(typ="safe").load(RULES.read_text())["groups"]
    return [Query(f"alert {rule['alert']}", rule["expr"]) for group in groups for rule in group["rules"]]


def _of_variables() -> Iterator[Query]:
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            yield Query(f"variable {variable['name']}", f"count by ({label}) ({_chosen(selector)})")


def _chosen(text: str) -> str:
    for name, value in _CHOSEN.items():
        text = text.replace(name, value)
    return text


def _collect(node: Any, matched: dict[str, set[str]], grouped: set[str]) -> None:
    if isinstance(node, promql_parser.VectorSelector):
        matched.setdefault(node.name, set()).update(matcher.name for matcher in node.matchers.matchers)
    modifier = getattr(node, "modifier", None)
    if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
        grouped.update(modifier.labels)
    if isinstance(node, promql_parser.BinaryExpr) and modifier is not None and modifier.matching is not None:
        grouped.update(modifier.matching.labels)
    for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(node, part, None)
        if isinstance(inner, promql_parser.Expr):
            _collect(inner, matched, grouped)
    for inner in getattr(node, "args", None) or ():
        _collect(inner, matched, grouped)
