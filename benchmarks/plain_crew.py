"""The plain alternative: a process that imports CrewAI and runs the crew itself, `COUNT` times.

`python -m benchmarks.plain_crew URL MARK COUNT` prints the seconds of each kickoff as a JSON list.
"""

import json
import sys
import time

from crewai import LLM, Agent, Crew, Task


def crew_of(url: str) -> Crew:
    llm = LLM(model="openai/instant", base_url=url, api_key="none", stream=True)
    agent = Agent(role="Greeter", goal="Greet people", backstory="You are polite.", llm=llm)
    task = Task(description="Greet {who}", expected_output="A greeting", agent=agent)
    return Crew(agents=[agent], tasks=[task])


def main(url: str, mark: str, count: int) -> None:
    took = []
    for _ in range(count):
        started = time.perf_counter()
        crew_of(url).kickoff(inputs={"who": mark})
        took.append(time.perf_counter() - started)
    sys.stdout.write(json.dumps(took) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
