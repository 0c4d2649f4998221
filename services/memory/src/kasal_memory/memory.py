"""What the routes of this service work with."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from kasal_db import Database
from kasal_runtime.peers import Peer

from .embedder import Embedder
from .follower import Follower
from .index import VectorIndex


@dataclass(frozen=True)
class Memory:
    """The database, the index that follows it, and the crews service."""

    database: Database
    embedder: Embedder
    index: VectorIndex
    follower: Follower
    crews: Peer


# A coroutine without an await: FastAPI sends plain functions through its thread pool.
async def _memory(request: Request) -> Memory:
    memory: Memory = request.app.state.memory
    return memory


TheMemory = Annotated[Memory, Depends(_memory)]
