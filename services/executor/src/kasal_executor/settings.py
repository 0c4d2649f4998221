"""Settings of the control plane."""

from datetime import timedelta

from kasal_runtime.settings import CommonSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class ControlSettings(CommonSettings):
    """Environment of one control plane, read once at start."""

    model_config = SettingsConfigDict(validate_by_name=True, validate_by_alias=True)

    lease: timedelta = Field(
        default=timedelta(seconds=10),
        gt=timedelta(0),
        validation_alias="KASAL_WORKER_LEASE",
        description="How long a silent worker keeps what it has claimed.",
    )
    leader_lease: timedelta = Field(
        default=timedelta(seconds=10),
        gt=timedelta(0),
        validation_alias="KASAL_CONTROL_LEADER_LEASE",
        description="How long a silent leader keeps the lead; renewed at a third of it.",
    )
    republish: timedelta = Field(
        default=timedelta(seconds=10),
        gt=timedelta(0),
        validation_alias="KASAL_CONTROL_REPUBLISH",
        description="An offer that no worker took is made again after this.",
    )
    tick: timedelta = Field(
        default=timedelta(seconds=1),
        gt=timedelta(0),
        validation_alias="KASAL_CONTROL_TICK",
        description="How often the leader looks for what is due when nobody nudges it.",
    )
