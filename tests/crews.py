"""Crews for the journeys."""

from kasal_contracts.wire import JsonObject


def crew(*tasks: str, model: str = "demo/scripted", **configuration: bool) -> JsonObject:
    """One agent and the tasks named, each with the output of the one before as context."""
    return {
        "name": "Journey",
        "agents": [{"key": "worker", "role": "Worker", "goal": "Do what is asked", "model": model, "max_iter": 3}],
        "tasks": [
            {
                "key": key,
                "description": f"Do the {key} about {{topic}}",
                "expected_output": "One sentence",
                "agent": "worker",
                "context": list(tasks[:place][-1:]),
            }
            for place, key in enumerate(tasks)
        ],
        "inputs": {"topic": {"default": "tea"}},
        "configuration": dict(configuration),
    }
