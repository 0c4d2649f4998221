import json
from pathlib import Path

import httpx
import pytest

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.json"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
async def test_an_example_is_valid_without_a_doubt_and_can_run(admin: httpx.AsyncClient, path: Path) -> None:
    crew = json.loads(path.read_text())
    verdict = (await admin.post("/crews/validate", json=crew)).json()
    saved = await admin.post("/crews", json=crew)
    fixed = await admin.post("http://crews/internal/snapshots", json={"crew_id": saved.json()["id"]})
    assert verdict["valid"]
    # The packages of the local model are optional.
    assert [problem for problem in verdict["problems"] if "not installed" not in problem["message"]] == []
    assert (saved.status_code, fixed.status_code) == (201, 200)
    assert {model["provider"] for model in fixed.json()["models"]} <= {"demo", "openai_compatible"}
