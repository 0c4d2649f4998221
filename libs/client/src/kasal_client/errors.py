"""What a call may raise."""

from kasal_contracts.problems import Problem


class KasalApiError(Exception):
    """The server refused. `problem` says why, and `problem.request_id` finds it in the server's logs."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}" + (f": {problem.detail}" if problem.detail else ""))
        self.problem = problem

    @property
    def status(self) -> int:
        return self.problem.status


class KasalUnreachableError(Exception):
    """Nothing answers at the address, or it stopped answering."""
