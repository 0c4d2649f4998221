"""Environment of the crews service."""

from kasal_runtime.settings import CommonSettings
from pydantic import AliasChoices, Field


class CrewsSettings(CommonSettings):
    """The addresses of providers have the names that their own clients use."""

    openai_base_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("OPENAI_BASE_URL", "KASAL_OPENAI_BASE_URL"),
        description="Where models of the provider `openai` answer, when not at OpenAI.",
    )
    databricks_host: str | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABRICKS_HOST", "KASAL_DATABRICKS_HOST"),
        description="The workspace whose serving endpoints are used.",
    )
