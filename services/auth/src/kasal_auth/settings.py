"""Settings of the auth service."""

from collections.abc import Mapping
from datetime import timedelta

from kasal_runtime.settings import CommonSettings
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

EMPTY = SecretStr("")


class ProviderKeys(BaseSettings):
    """Provider keys of the whole installation, under the names that their providers gave them."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    openai_api_key: SecretStr = EMPTY
    anthropic_api_key: SecretStr = EMPTY
    gemini_api_key: SecretStr = EMPTY
    google_api_key: SecretStr = EMPTY
    databricks_token: SecretStr = EMPTY
    databricks_api_key: SecretStr = EMPTY
    llama_api_key: SecretStr = EMPTY
    meta_api_key: SecretStr = EMPTY
    azure_api_key: SecretStr = EMPTY
    deepseek_api_key: SecretStr = EMPTY
    groq_api_key: SecretStr = EMPTY
    mistral_api_key: SecretStr = EMPTY
    openrouter_api_key: SecretStr = EMPTY
    together_api_key: SecretStr = EMPTY
    xai_api_key: SecretStr = EMPTY
    hf_token: SecretStr = EMPTY
    serper_api_key: SecretStr = EMPTY
    tavily_api_key: SecretStr = EMPTY

    def present(self) -> Mapping[str, SecretStr]:
        """The keys that are set, by their usual names."""
        fields = type(self).model_fields
        values: dict[str, SecretStr] = {name.upper(): getattr(self, name) for name in fields}
        return {name: value for name, value in values.items() if value.get_secret_value()}


class AuthSettings(CommonSettings):
    """Environment of the auth service, read once at start."""

    encryption_keys: SecretStr = Field(
        default=EMPTY, description="Master keys, newest first: id:base64(32 bytes)[,…]. The service needs one."
    )
    admin_email: str = Field(default="", description="The first admin, made where there is no user yet.")
    admin_password: SecretStr = Field(default=EMPTY, description="The first admin's password.")
    provider_keys: ProviderKeys = Field(default_factory=ProviderKeys)

    access_token_lifetime: timedelta = Field(
        default=timedelta(minutes=15),
        gt=timedelta(0),
        le=timedelta(minutes=15),
        description="Revocations are published for 20 minutes, so no access token may live longer.",
    )
    refresh_token_lifetime: timedelta = Field(
        default=timedelta(days=14), gt=timedelta(0), description="A session that is not used for so long has ended."
    )
    session_lifetime: timedelta = Field(
        default=timedelta(days=90), gt=timedelta(0), description="After this one logs in again."
    )
    signing_key_lifetime: timedelta = Field(
        default=timedelta(days=30), ge=timedelta(hours=1), description="Then a new key signs; the old one still checks."
    )
    login_failures: int = Field(
        default=8, ge=3, le=1000, description="Failed logins of one account from one address within the window."
    )
    login_window: timedelta = Field(
        default=timedelta(minutes=5), ge=timedelta(seconds=1), description="How long a failed login counts."
    )
    argon2_memory_kib: int = Field(
        default=65_536, ge=7_168, le=1_048_576, description="Memory of one password hash (RFC 9106, section 4)."
    )
    argon2_iterations: int = Field(default=3, ge=2, le=20, description="Passes of one password hash.")
    argon2_lanes: int = Field(default=4, ge=1, le=16, description="Lanes of one password hash.")
    hash_threads: int = Field(default=2, ge=1, le=32, description="Password hashes at the same time.")
    hash_queue: int = Field(default=64, ge=1, le=10_000, description="Password hashes that may wait; more answer 429.")
