"""What is written for other people's servers names only settings, roles and arguments that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from commands.kernel import REACTIONS
from domain.sections import variable
from infra.cli import commands
from infra.container import load_everything
from infra.embedded.nats import letting_in
from infra.settings import settings_fields
from infra.supervisor import all_parts

IMAGE = Path(__file__).parents[2] / "infra" / "image"
CHART = IMAGE / "chart"
COMMAND = re.compile(r"^    command: \[(.+)\]$", re.MULTILINE)


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "chart/values.yaml"])
def test_every_setting_that_is_named_exists(name: str) -> None:
    known = set(map(variable, settings_fields()))
    assert set(re.findall(r"\bLEDGERLINE_[A-Z0-9_]+", (IMAGE / name).read_text())) <= known


def test_compose_is_read_as_it_is_meant() -> None:
    services = yaml.safe_load((IMAGE / "compose.yaml").read_text())["services"]
    urls = services["serve"]["environment"]["LEDGERLINE_NATS_URL"].split(",")
    nodes = [f"nats-{number}" for number in (1, 2, 3)]
    assert [re.sub(r".*@|:4222$", "", each) for each in urls] == nodes
    assert all(" " not in each for each in urls)
    for node in nodes:
        [routes] = [each for each in services[node]["command"] if each.startswith("--routes=")]
        assert [re.sub(r".*@|:6222$", "", each) for each in routes.split(",")] == nodes
        assert f"--name={node}" in services[node]["command"]


def test_the_servers_of_nats_let_subscribers_in_as_up_does() -> None:
    composed = yaml.safe_load((IMAGE / "compose.yaml").read_text())
    told = json.loads(composed["configs"]["nats"]["content"].replace("$$", "$"))
    assert told == letting_in("${NATS_PASSWORD:?}", "${NATS_SYSTEM_PASSWORD:?}", "${NATS_ISSUER:?}")
    settings = composed["services"]["relay"]["environment"]
    for name in ("nats_system_url", "nats_issuer_seed", "nats_public_url"):
        assert variable(name) in settings
        assert variable(name) in (CHART / "values.yaml").read_text()


def test_the_chart_runs_what_up_runs_and_scales_by_jobs_that_there_are() -> None:
    load_everything()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    roles = {name: tuple(role["arguments"]) for name, role in values["roles"].items()}
    assert roles == {part.name: part.arguments for part in all_parts()}
    for name, role in values["roles"].items():
        if "jobs" in role:
            ours = {each.name for each in REACTIONS.values() if each.queue.name == name}
            assert set(role["jobs"]["reactions"]) == ours, name


def test_compose_runs_what_up_runs_and_nothing_else() -> None:
    written = [tuple(command.split(", ")) for command in COMMAND.findall((IMAGE / "compose.yaml").read_text())]
    ours = [command for command in written if command[0] in commands()]
    assert sorted(ours) == sorted([("migrate",), *(part.arguments for part in all_parts())])
    for command in ours:
        commands()[command[0]].make_context(command[0], list(command[1:]))


def test_the_image_holds_every_package_that_is_installed() -> None:
    packages = re.search(r"^packages = (\[.*\])$", (IMAGE.parents[1] / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages is not None
    for package in json.loads(packages[1]):
        assert f"COPY {package} {package}\n" in (IMAGE / "Dockerfile").read_text()
