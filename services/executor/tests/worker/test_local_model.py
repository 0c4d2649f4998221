"""SmolLM2, for real."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest
from kasal_executor.worker.local_model_address import Address

from .callers import Child, child_of, said, streamed
from .orders import model

LOCAL = model(alias="local/smollm2", base_url="local://smollm2", model="smollm2")


async def ask(child: Child, text: str = "Say hello.", **body: object) -> httpx.Response:
    messages = [{"role": "user", "content": text}]
    return await child.ask(alias=LOCAL.alias, messages=messages, **{"max_tokens": 8, "temperature": 0, **body})


def servers(folder: Path) -> list[int]:
    """Processes of local models whose lock file is in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_server = b"local_model_server" in (process / "cmdline").read_bytes()
            files = {str(each.readlink()) for each in (process / "fd").iterdir()} if is_server else set()
        except OSError:  # it ended meanwhile
            continue
        if str(folder / "local-model.json") in files:
            found.append(int(process.name))
    return found


async def test_two_workers_share_one_real_model_that_starts_when_it_is_asked(folder: Path) -> None:
    shared = folder / "data"
    async with (
        child_of(folder / "a", LOCAL, data_dir=shared) as first,
        child_of(folder / "b", LOCAL, data_dir=shared) as second,
    ):
        assert servers(shared) == []
        whole, stream = await asyncio.gather(ask(first), ask(second, stream=True))

        assert len(servers(shared)) == 1
        assert whole.json()["choices"][0]["message"]["content"].strip()
        assert whole.json()["usage"]["completion_tokens"] > 0
        assert streamed(stream.text).strip()
        assert Address.model_validate_json((shared / "local-model.json").read_bytes()).url.startswith(
            "http://127.0.0.1"
        )
        assert (shared / "local-model.json").stat().st_mode & 0o777 == 0o600

        [server] = servers(shared)
        os.kill(server, signal.SIGKILL)
        assert (await ask(second)).status_code == 200
        assert servers(shared) != [server]
    assert servers(shared) == []


async def test_a_prompt_that_is_too_long_and_an_unknown_local_model_are_explained(folder: Path) -> None:
    other = LOCAL.model_copy(update={"alias": "local/other", "base_url": "local://other"})
    async with child_of(folder, LOCAL, other, local_model_context=512) as child:
        too_long = await ask(child, "word " * 600)
        unknown = await child.ask(alias="local/other")

    assert "the local model reads 512" in said(too_long)
    assert "the only local model is local://smollm2" in said(unknown)


@pytest.mark.long
async def test_a_model_that_nobody_asks_leaves(folder: Path) -> None:
    async with child_of(folder, LOCAL, local_model_idle="PT0.5S") as child:
        assert (await ask(child)).status_code == 200
        [server] = servers(folder)
        await _gone(server)

        assert servers(folder) == []
        assert (await ask(child)).status_code == 200


async def _gone(pid: int) -> None:
    """Wait for the end of a process."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    process = os.pidfd_open(pid)
    loop.add_reader(process, gone.set)
    try:
        async with asyncio.timeout(10):
            await gone.wait()
    finally:
        loop.remove_reader(process)
        os.close(process)
