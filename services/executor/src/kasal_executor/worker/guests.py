"""Whom the broker serves."""

from dataclasses import dataclass

from kasal_contracts.executions import ErrorCode
from kasal_contracts.models import ResolvedModel

from .claims import Claim
from .credentials import Credentials
from .refusals import BrokerRefusedError


@dataclass(frozen=True)
class Guest:
    """One attempt, as the broker knows it: what its snapshot allows, and its keys."""

    claim: Claim
    keys: Credentials

    def model(self, alias: str) -> ResolvedModel:
        """Raises BrokerRefusedError for a model that is not in the snapshot."""
        for model in self.claim.snapshot.models:
            if model.alias == alias:
                return model
        raise BrokerRefusedError(f"The model “{alias}” is not among the models of this execution.", status=404)

    def check_tool(self, name: str) -> None:
        """Raises BrokerRefusedError for a tool that is not in the snapshot."""
        if all(tool.name != name for tool in self.claim.snapshot.tools):
            raise BrokerRefusedError(
                f"The tool “{name}” is not among the tools of this execution.", code=ErrorCode.TOOL_ERROR, status=404
            )
