"""The Helm chart, rendered by Helm's own library and held to the schemas of Kubernetes; `make charts` runs it.

Both come from packages that are too big for everybody's machine (the group `charts`), so the suite does not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from infra.cli import commands
from tests.infra.test_image import CHART

VERSIONS = ("1.30", "1.37")
BACKUP = {"enabled": True, "claim": "backups", "passphraseSecret": "ledgerline-backup"}


def rendered(directory: Path = CHART, **values: Any) -> list[dict[str, Any]]:
    with helm_python.Chart.load(directory) as chart:
        manifests = chart.render(values, name="studio", namespace="music", is_install=True)
    return [each for text in manifests.values() for each in yaml.safe_load_all(text) if each]


def of(kind: str, found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (each for each in found if each["kind"] == kind)


def test_helm_finds_nothing_to_say() -> None:
    report = helm_python.lint(CHART, strict=True)
    assert not report["errors"]
    assert not [each for each in report["messages"] if each["severity"] > 1], report


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "values",
    [{}, {"keda": {"enabled": False}}, {"networkPolicy": {"enabled": False}}, {"backup": BACKUP}],
    ids=str,
)
def test_what_is_rendered_is_as_kubernetes_wants_it(version: str, values: dict[str, Any]) -> None:
    found = rendered(**values)
    assert len(found) > 15
    for each in found:
        if each["kind"] != "ScaledObject":  # KEDA's own, of which there is no schema in Kubernetes
            kubernetes_validate.validate(each, version, strict=True)


def test_each_role_is_there_with_its_budget_and_those_with_jobs_scale_by_them() -> None:
    found = rendered()
    roles = yaml.safe_load((CHART / "values.yaml").read_text())["roles"]
    deployments = {each["metadata"]["name"]: each for each in of("Deployment", found)}
    budgets = {each["metadata"]["name"]: each for each in of("PodDisruptionBudget", found)}
    assert set(deployments) == set(budgets) == {f"studio-{name}" for name in roles}
    for name, each in deployments.items():
        labels = each["spec"]["template"]["metadata"]["labels"]
        for selector in (each["spec"]["selector"], budgets[name]["spec"]["selector"]):
            assert selector["matchLabels"].items() <= labels.items()
    scaled = {each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in of("ScaledObject", found)}
    assert set(scaled) == {f"studio-{name}" for name, role in roles.items() if "jobs" in role}
    for name, spec in scaled.items():
        assert "replicas" not in deployments[name]["spec"], "two would say how many there are"
        [trigger] = spec["triggers"]
        assert trigger["type"] == "postgresql"
        assert set(trigger["metadata"]) == {"connectionFromEnv", "query", "targetQueryValue"}
    [job] = of("Job", found)
    assert "pre-upgrade" in job["metadata"]["annotations"]["helm.sh/hook"]


def test_a_backup_is_made_at_its_times_by_a_command_that_there_is_into_a_volume_of_ones_own() -> None:
    assert not list(of("CronJob", rendered()))
    [job] = of("CronJob", rendered(backup=BACKUP))
    assert (job["spec"]["schedule"], job["spec"]["concurrencyPolicy"]) == ("0 3 * * *", "Forbid")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]
    [container] = pod["spec"]["containers"]
    name, directory, option, passphrase = container["args"]
    assert option in {each for parameter in commands()[name].params for each in parameter.opts}
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    assert volumes[mounted[directory]]["persistentVolumeClaim"]["claimName"] == "backups"
    assert volumes[mounted[str(Path(passphrase).parent)]]["secret"]["secretName"] == "ledgerline-backup"
    # It reaches the servers as every other pod of ours does.
    policy = next(each for each in of("NetworkPolicy", rendered()) if each["metadata"]["name"] == "studio")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_values_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"settings": {"PUBLIC_URL": "x"}},
        {"roles": {"serve": {"arguments": []}}},
        {"existingSecret": ""},
        {"backup": {"enabled": True, "claim": "backups"}},
        {"backup": {"every": "night"}},
    ]
    for wrong in odd:
        with pytest.raises(helm_python.HelmError):
            rendered(**wrong)
    copy = shutil.copytree(CHART, tmp_path / "chart")
    roles = copy / "templates" / "roles.yaml"
    roles.write_text(roles.read_text().replace("maxUnavailable: 1\n", "maxUnavailable: [1]\n"))
    budget = next(of("PodDisruptionBudget", rendered(copy)))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(budget, VERSIONS[-1], strict=True)
