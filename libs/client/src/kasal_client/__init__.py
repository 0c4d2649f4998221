"""The Python client of Kasal.

    with Kasal("http://127.0.0.1:8000") as kasal:
        kasal.login("me@example.org", password)
        execution = kasal.executions.submit(crew_id=crew_id, inputs={"topic": "tides"})
        for event in kasal.executions.stream(execution.id):
            print(event.type, event.data)
        print(kasal.executions.get(execution.id).result)

Refusals raise `KasalApiError`, which carries the problem document; a server that does not answer raises
`KasalUnreachableError`.
"""

from .client import Kasal
from .errors import KasalApiError, KasalUnreachableError
from .schemas import Account, ApiKey, Crew, Execution, Model, Session, Verdict

__all__ = [
    "Account",
    "ApiKey",
    "Crew",
    "Execution",
    "Kasal",
    "KasalApiError",
    "KasalUnreachableError",
    "Model",
    "Session",
    "Verdict",
]
