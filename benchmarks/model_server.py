"""A model server in a process of its own: `python -m benchmarks.model_server`.

It says its address, then one line for each request. The name of the model asks for the way it answers.
"""

import asyncio
import json
import re
import sys
import time

from kasal_testing.scripted_llm import Answer, ScriptedLlm, Seen, Text

MARK = re.compile(r"mark-[0-9a-f]{32}")
INSTANT, PATIENT, STREAMING = "instant", "patient", "streaming"
PATIENCE_S = 12
WORDS = 20
PAUSE_S = 0.15


def answer(seen: Seen) -> Answer:
    arrived_at = time.time()
    mark = MARK.search(json.dumps(seen.body))
    say({"mark": mark.group() if mark else "", "arrived_at": arrived_at})
    match seen.body.get("model"):
        case "patient":
            return Text("Done.", delay_s=PATIENCE_S)
        case "streaming":
            return Text(" ".join(["word"] * WORDS), pause_s=PAUSE_S)
        case _:
            return Text("Done.")


def say(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    async with ScriptedLlm(script=answer) as llm:
        say({"url": llm.url})
        # The end of the input is the end of the one who asked for this server.
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
