"""Dashboard, alerts and scrape configuration: about metrics that exist, and accepted by Prometheus itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import prometheus_client
import pytest
import yaml

from runners.catalog import PROJECT_ROOT
from service import errors, observability

FOLDER = PROJECT_ROOT / "configs" / "observability"
_SUFFIXES = {
    prometheus_client.Counter: ("_total",),
    prometheus_client.Gauge: ("",),
    prometheus_client.Histogram: ("_bucket", "_sum", "_count"),
}


def series() -> set[str]:
    """Names of every series that the service's metrics have."""
    metrics = (m for m in vars(observability).values() if isinstance(m, tuple(_SUFFIXES)))
    return {f"{metric._name}{suffix}" for metric in metrics for suffix in _SUFFIXES[type(metric)]}


def expressions() -> dict[str, str]:
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))
    found = {
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    rules: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    return found | {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    known = series()
    asked = {name: set(re.findall(r"\basr_\w+", expression)) for name, expression in expressions().items()}
    assert {name: unknown for name, wanted in asked.items() if (unknown := wanted - known)} == {}


def test_every_metric_is_on_the_dashboard() -> None:
    asked = " ".join(expression for name, expression in expressions().items() if name.startswith("panel"))
    metrics = {m._name for m in vars(observability).values() if isinstance(m, tuple(_SUFFIXES))}
    assert {name for name in metrics if name not in asked} == set()


def test_outcomes_named_in_alerts_are_failures_that_exist() -> None:
    codes = {cls.code for cls in [errors.ServiceError, *_subclasses(errors.ServiceError)]} | {"internal_error"}
    for name, expression in expressions().items():
        for outcomes in re.findall(r'outcome=~?"([^"]+)"', expression):
            assert set(outcomes.split("|")) <= codes, name


def _subclasses(cls: type) -> list[Any]:
    return [found for sub in cls.__subclasses__() for found in [sub, *_subclasses(sub)]]


def test_scaling_rules_offer_what_the_autoscalers_ask_for() -> None:
    path = PROJECT_ROOT / "configs" / "kubernetes" / "base" / "autoscaling.yaml"
    adapter = (FOLDER / "prometheus-adapter.yaml").read_text(encoding="utf-8")
    for scaler in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        for metric in scaler["spec"]["metrics"]:
            name = metric[metric["type"].lower()]["metric"]["name"]
            assert name in series()
            assert name in adapter


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))["panels"]:
        place = panel["gridPos"]
        fields = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not fields & taken
        assert place["x"] + place["w"] <= 24
        taken |= fields


@pytest.mark.parametrize("command", ["check config prometheus.yml", "test rules alerts_test.yml"])
def test_prometheus_accepts_configuration_and_alerts(command: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    result = subprocess.run(["promtool", *command.split()], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_can_parse_the_dashboards_queries(tmp_path: Any) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    queries = [e.replace("$instance", ".*") for name, e in expressions().items() if name.startswith("panel")]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    result = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
