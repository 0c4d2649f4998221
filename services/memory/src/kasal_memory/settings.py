"""Environment of the memory service."""

from pathlib import Path

from kasal_runtime.settings import CommonSettings
from pydantic import Field


class MemorySettings(CommonSettings):
    """Read once at start."""

    memory_embedder_dir: Path | None = Field(
        default=None,
        description="Holds model.onnx and tokenizer.json of another sentence encoder; empty means the installed one.",
    )

    @property
    def index_dir(self) -> Path:
        """Where each process has a vector index of its own."""
        return self.data_dir / "memory-index"
