"""Ending a task that talks to a broker."""

import asyncio

TRIES = 50
PATIENCE_S = 0.2


async def ended(task: asyncio.Task[None]) -> None:
    """Cancels `task` until it is done: aiormq swallows a cancellation that meets the broker's answer."""
    for _ in range(TRIES):
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_S)
        if task.done():
            return
