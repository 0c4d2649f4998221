"""Model calls of a child: over the socket, through the broker, to a real server and back."""

import asyncio
from pathlib import Path

import pytest
from kasal_contracts.models import Provider
from kasal_testing.scripted_llm import Answer, Break, Garbage, Hang, Refuse, ScriptedLlm, Text, ToolCall, Whole

from .callers import ASK, CHAT, KEY, child_of, client_of, said, streamed
from .orders import GROUP, USER, claimed, model, snapshot


async def test_a_call_reaches_the_provider_with_its_key_and_the_models_own_name(folder: Path) -> None:
    async with ScriptedLlm(Text("Paris.")) as llm, child_of(folder, model(Provider.OPENAI, base_url=llm.url)) as child:
        answer = await child.ask()

        assert answer.json()["choices"][0]["message"]["content"] == "Paris."
        [seen] = llm.requests
        assert (seen.path, seen.body["model"]) == ("/v1/chat/completions", "the-model")
        assert seen.headers["Authorization"] == f"Bearer {KEY}"
        assert child.token not in str(seen)
        [asked] = child.desks.asked
        assert (asked.audience, asked.body) == ("auth", {"name": "OPENAI_API_KEY"})
        assert asked.act is not None
        assert (asked.act.group_id, asked.act.user_id, asked.act.attempt) == (GROUP, USER, 1)


async def test_a_key_is_fetched_once_for_an_attempt(folder: Path) -> None:
    async with ScriptedLlm(Text("Paris.")) as llm, child_of(folder, model(Provider.OPENAI, base_url=llm.url)) as child:
        for _ in range(3):
            await child.ask()

        assert len(llm.requests) == 3
        assert len(child.desks.asked) == 1


@pytest.mark.parametrize(
    ("provider", "path", "arrives", "header", "shown"),
    [
        (Provider.ANTHROPIC, "v1/messages", "/v1/messages", "x-api-key", KEY),
        (
            Provider.GOOGLE,
            "v1beta/models/x:generateContent",
            "/v1beta/models/the-model:generateContent",
            "x-goog-api-key",
            KEY,
        ),
        (Provider.DATABRICKS, CHAT, "/serving-endpoints/chat/completions", "Authorization", f"Bearer {KEY}"),
        (Provider.META, CHAT, "/chat/completions", "Authorization", f"Bearer {KEY}"),
    ],
)
async def test_each_provider_is_called_in_its_own_way(
    folder: Path, provider: Provider, path: str, arrives: str, header: str, shown: str
) -> None:
    async with ScriptedLlm(Text("Paris.")) as llm:
        there = model(provider, base_url=llm.origin, api_key_name="OPENAI_API_KEY")
        async with child_of(folder, there) as child:
            client_header = {"x-api-key": child.token, "Authorization": ""}
            answer = await child.client.post(f"/llm/test%2Fmodel/{path}", json=ASK, headers=client_header)

        assert answer.status_code == 200
        assert "Paris." in answer.text
        [seen] = llm.requests
        sent = {name.lower(): value for name, value in seen.headers.items()}
        assert (seen.path, sent[header.lower()]) == (arrives, shown)


async def test_only_the_calls_of_a_models_protocol_are_forwarded(folder: Path) -> None:
    async with ScriptedLlm() as llm, child_of(folder, model(Provider.OPENAI, base_url=llm.url)) as child:
        for path in ("v1/files", "v1/chat/completions/../../admin", "v1/messages", "", "v1/models"):
            answer = await child.ask(path)
            assert answer.status_code == 404, path

        assert llm.requests == []


async def test_a_stream_passes_word_by_word(folder: Path) -> None:
    async with (
        ScriptedLlm(Text("one two three", pause_s=0.05)) as llm,
        child_of(folder, model(base_url=llm.url)) as child,
        child.client.stream("POST", f"/llm/test%2Fmodel/{CHAT}", json={**ASK, "stream": True}) as answer,
    ):
        chunks = [chunk async for chunk in answer.aiter_text()]

    assert len(chunks) >= 3
    assert streamed("".join(chunks)) == "one two three"


async def test_a_server_that_cannot_stream_is_heard_all_the_same(folder: Path) -> None:
    async with ScriptedLlm(Whole("Paris, of course.")) as llm, child_of(folder, model(base_url=llm.url)) as child:
        answer = await child.ask(stream=True)

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert streamed(answer.text) == "Paris, of course."
    assert '"total_tokens": 15' in answer.text


async def test_tool_calls_pass_in_both_directions(folder: Path) -> None:
    call = ToolCall("calculator", {"expression": "1 + 1"})
    async with ScriptedLlm(call) as llm, child_of(folder, model(base_url=llm.url)) as child:
        tools = [{"type": "function", "function": {"name": "calculator"}}]
        answer = await child.ask(tools=tools)

        assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "calculator"
        assert llm.requests[0].body["tools"] == tools


FAILURES: list[tuple[Answer, str]] = [
    (Refuse(401, '{"error": {"message": "Incorrect API key provided: sk-plan***cdef"}}'), "refused the key OPENAI_API"),
    (Refuse(404), "is not known to its provider as “the-model”"),
    (Refuse(400, '{"error": {"message": "maximum context length is 8 tokens"}}'), "maximum context length is 8 tokens"),
    (Refuse(500, f'{{"error": {{"message": "no {KEY} sk-other-98765"}}}}'), "failed (HTTP 500): no … …"),
    (Refuse(307, headers={"Location": "http://127.0.0.1:1/"}), "a redirect"),
    (Garbage(), "an answer that cannot be read"),
    (Garbage('{"hello": "world"}', "application/json"), "an answer that cannot be read"),
    (Break(), "did not answer completely"),
]


@pytest.mark.parametrize(("scripted", "words"), FAILURES)
async def test_a_failure_says_which_model_and_what_happened(folder: Path, scripted: Answer, words: str) -> None:
    there = model(Provider.OPENAI, alias="my model")
    async with (
        ScriptedLlm(scripted) as llm,
        child_of(folder, there.model_copy(update={"base_url": llm.url})) as child,
    ):
        answer = await child.ask(alias="my model")

    assert answer.status_code >= 400
    assert answer.headers["x-should-retry"] == "false"
    assert words in said(answer)
    assert "“my model”" in said(answer)


async def test_a_busy_model_is_asked_again_before_it_counts_as_failed(folder: Path) -> None:
    busy = Refuse(429, headers={"Retry-After": "0"})
    async with ScriptedLlm(busy, Text("Paris.")) as llm, child_of(folder, model(base_url=llm.url)) as child:
        answer = await child.ask()
        assert answer.status_code == 200
        assert len(llm.requests) == 2

    async with ScriptedLlm(busy) as llm, child_of(folder / "b", model(base_url=llm.url)) as child:
        assert "takes no more requests" in said(await child.ask())


async def test_a_model_that_is_silent_for_too_long_has_not_answered(folder: Path) -> None:
    async with ScriptedLlm(Hang()) as llm, child_of(folder, model(base_url=llm.url), llm_timeout="PT0.2S") as child:
        assert "did not answer in time" in said(await child.ask())


async def test_a_stream_that_breaks_ends_with_an_error_event(folder: Path) -> None:
    async with ScriptedLlm(Break(words=2)) as llm, child_of(folder, model(base_url=llm.url)) as child:
        answer = await child.ask(stream=True)

    assert streamed(answer.text) == "word word "
    assert "did not answer completely" in answer.text.split("event: error")[1]


async def test_a_child_that_goes_away_ends_the_call_outside(folder: Path) -> None:
    async with ScriptedLlm(Hang()) as llm, child_of(folder, model(base_url=llm.url)) as child:
        asking = asyncio.create_task(child.ask())
        await llm.asked()
        asking.cancel()
        async with asyncio.timeout(5):
            await llm.gone.wait()

        assert asking.cancelled()


async def test_a_missing_key_is_named_and_nothing_is_sent(folder: Path) -> None:
    async with ScriptedLlm() as llm:
        there = model(Provider.OPENAI, base_url=llm.url, api_key_name="MY_KEY")
        async with child_of(folder, there) as child:
            answer = await child.ask()

        assert answer.status_code == 401
        assert "needs the key MY_KEY, which is not configured" in said(answer)
        assert llm.requests == []


async def test_an_address_that_is_not_allowed_is_not_called(folder: Path) -> None:
    async with ScriptedLlm() as llm:
        async with child_of(folder, model(base_url=llm.url), egress_loopback=False) as child:
            assert "may not be called there" in said(await child.ask())
        async with child_of(folder / "b", model(base_url="http://127.0.0.1:8101")) as child:
            assert "belongs to Kasal itself" in said(await child.ask())
        async with child_of(folder / "c", model()) as child:
            assert "has no address" in said(await child.ask())

        assert llm.requests == []


async def test_a_server_that_does_not_run_cannot_be_reached(folder: Path) -> None:
    async with child_of(folder, model(base_url="http://127.0.0.1:1/v1")) as child:
        assert "cannot be reached" in said(await child.ask())


async def test_a_token_is_good_for_its_attempt_and_its_models_only(folder: Path) -> None:
    async with ScriptedLlm() as llm, child_of(folder, model(base_url=llm.url)) as child:
        assert (await child.ask(alias="other/model")).status_code == 404
        async with client_of(child.broker, "wrong") as stranger:
            assert (await stranger.post(f"/llm/test%2Fmodel/{CHAT}", json=ASK)).status_code == 401
        with child.broker.admitted(claimed(snapshot(model(base_url=llm.url)))) as ended:
            pass
        async with client_of(child.broker, ended) as late:
            assert (await late.post(f"/llm/test%2Fmodel/{CHAT}", json=ASK)).status_code == 401

        assert llm.requests == []


async def test_nobody_else_may_open_the_socket(folder: Path) -> None:
    async with child_of(folder, model()) as child:
        assert child.broker.path.stat().st_mode & 0o777 == 0o600
        assert child.broker.path.parent.stat().st_mode & 0o777 == 0o700
