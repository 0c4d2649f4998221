"""What a new user does first, on a laptop and on PostgreSQL with RabbitMQ."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kasal_client import Kasal
from kasal_contracts.executions import Status
from kasal_db import Keyring
from kasal_testing.stacks import Stack, clean_environment

from .conftest import ROOT, logged_in

CALCULATOR = str(ROOT / "examples" / "calculator.json")
BRIEF = str(ROOT / "examples" / "research-brief.json")


def test_the_first_start_leaves_a_finished_execution_of_an_example(dev: Stack) -> None:
    with logged_in(dev.url) as kasal:
        first = kasal.executions.list(label="example").items
        while not first:
            first = kasal.executions.list(label="example").items
        finished = kasal.executions.wait(first[0].id)
        models = {
            event.data["model"] for event in kasal.executions.events(finished.id) if event.type == "llm.completed"
        }
    assert finished.status is Status.SUCCEEDED
    assert finished.result is not None
    assert finished.result.text
    assert models == {"local/smollm2"}


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.json")), ids=lambda path: path.stem)
def test_every_example_is_valid(kasal: Kasal, example: object) -> None:
    verdict = kasal.crews.validate(json.loads(open(str(example)).read()))  # noqa: PTH123, SIM115
    assert (verdict.valid, verdict.problems) == (True, [])


def test_a_run_shows_its_progress_and_prints_its_result(stack: Stack) -> None:
    done = stack.kasal("run", CALCULATOR)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout.lower()
    assert "✓" in done.stderr


def test_the_local_model_answers_through_the_command_line(stack: Stack) -> None:
    done = stack.kasal("run", BRIEF, "--input", "topic=tea", "--json")
    assert done.returncode == 0, done.stderr
    execution = json.loads(done.stdout)
    assert execution["status"] == "succeeded"
    assert execution["usage"]["output_tokens"] > 0
    assert [task["status"] for task in execution["result"]["tasks"]] == ["completed", "completed"]


def test_runs_and_logs_show_what_was_done(stack: Stack) -> None:
    done = json.loads(stack.kasal("run", CALCULATOR, "--json").stdout)
    listed = json.loads(stack.kasal("runs", "--json").stdout)
    assert done["id"] in {execution["id"] for execution in listed}
    assert "execution.succeeded" in stack.kasal("logs", done["id"]).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "no/such/file.json"], 2, "no file"),
        (["run", "No such crew"], 2, "no saved crew"),
        (["run", CALCULATOR, "--input", "nonsense"], 2, "name=value"),
        (["logs", "unknown"], 1, "no execution"),
        (["cancel", "unknown"], 1, "no execution"),
    ],
)
def test_a_mistake_is_told_with_an_exit_code(dev: Stack, arguments: list[str], code: int, words: str) -> None:
    done = dev.kasal(*arguments)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_an_invalid_crew_is_refused_with_the_place_of_its_problem(dev: Stack, tmp_path: Path) -> None:
    path = tmp_path / "invalid.json"
    path.write_text(
        json.dumps(
            {
                "name": "x",
                "agents": [],
                "tasks": [{"key": "t", "description": "d", "expected_output": "e", "agent": "nobody"}],
            }
        )
    )
    done = dev.kasal("run", str(path))
    assert done.returncode == 1
    assert "nobody" in done.stderr


def test_nothing_runs_here_is_said_with_its_own_exit_code(dev: Stack) -> None:
    empty = str(dev.data_dir / "empty")
    assert dev.kasal("runs", KASAL_DATA_DIR=empty).returncode == 3
    assert dev.kasal("runs", KASAL_URL="http://127.0.0.1:9", KASAL_TOKEN="x").returncode == 3


def test_a_data_directory_serves_one_kasal_at_a_time(dev: Stack) -> None:
    second = dev.kasal("dev", "--port", "0", "--data-dir", str(dev.data_dir))
    assert second.returncode == 1
    assert "another Kasal" in second.stderr


def test_the_doctor_finds_a_working_installation_well(up: Stack) -> None:
    done = up.kasal("doctor")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("✓") >= 6


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("KASAL_ADMIN_PASSWORD", "first administrator"),
        ("KASAL_ENCRYPTION_KEYS", "kasal keys generate"),
        ("KASAL_DATABASE_URL", "PostgreSQL"),
        ("KASAL_AMQP_URL", "RabbitMQ"),
    ],
)
def test_up_refuses_to_start_without_what_it_needs(
    postgres_url: str, amqp_url: str, amqp_prefix: str, tmp_path: Path, missing: str, words: str
) -> None:
    settings = {
        "KASAL_DATABASE_URL": postgres_url,
        "KASAL_AMQP_URL": amqp_url,
        "KASAL_AMQP_PREFIX": amqp_prefix,
        "KASAL_ENCRYPTION_KEYS": Keyring.generate("k"),
        "KASAL_ADMIN_EMAIL": "someone@example.com",
        "KASAL_ADMIN_PASSWORD": "twelve characters",
    }
    done = subprocess.run(
        [sys.executable, "-m", "kasal_cli", "up", "--port", "1", "--data-dir", str(tmp_path)],
        env={**clean_environment(), **settings, missing: ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert words in done.stderr
