"""Environment of this installation: where its stores are and what its buckets are called.

Secrets enter by reference only: the settings name the file that holds them, never their value.
Algorithm parameters live beside the algorithms and never meet this file.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Bucket = Literal[
    "landing", "archive", "products", "profiles", "catalogue", "quarantine", "staging", "audit", "agencies"
]
BUCKETS: tuple[Bucket, ...] = (
    "landing",
    "archive",
    "products",
    "profiles",
    "catalogue",
    "quarantine",
    "staging",
    "audit",
    "agencies",
)


class Settings(BaseSettings):
    """Settings read from `TERRALIMB_*` environment variables."""

    model_config = SettingsConfigDict(env_prefix="TERRALIMB_", extra="ignore")

    home: Path = Field(default=Path("var"), description="State between runs: store, database, credentials, logs.")
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL of ledger and catalogue; SQLite under the home where unset."
    )
    s3_endpoint_url: str | None = Field(
        default=None, description="S3 endpoint; the embedded object store of this installation where unset."
    )
    s3_credentials_file: Path | None = Field(
        default=None, description="JSON file with access_key and secret_key; boto3's own chain where unset."
    )
    s3_region: str = "us-east-1"
    bucket_prefix: str = "tl-"
    dask_scheduler: str | None = Field(
        default=None, description="Address of a Dask scheduler for large scenes; threads of this machine where unset."
    )
    imagery_workers: int | None = Field(
        default=None, ge=1, description="Threads for large scenes on this machine; the cores available where unset."
    )
    product_parameters: Path | None = Field(
        default=None, description="YAML of product parameters that differ from the code's; none where unset."
    )
    alert_thresholds: Path | None = Field(
        default=None, description="YAML of thresholds from which products alert; those shipped where unset."
    )
    alert_sender: str | None = Field(
        default=None,
        description="Sender of alerts as an address or domain; alerts are exercises, not for action, where unset.",
    )
    retention: Path | None = Field(
        default=None, description="YAML of how long what is published is kept; that shipped where unset."
    )
    service_store_url: str | None = Field(
        default=None, description="S3 endpoint as clients reach it, for links; that of this installation where unset."
    )
    service_rate: float = Field(
        default=200.0, gt=0, description="Requests a second an agency may make of each process in the long run."
    )
    service_burst: int = Field(
        default=1000, ge=1, description="Requests an agency may make of each process at once after a rest."
    )
    service_places: int = Field(
        default=1, ge=1, description="Requests of one agency each process works on at the same time."
    )
    oidc_issuer: str | None = Field(default=None, description="Issuer whose tokens are accepted; none where unset.")
    oidc_audience: str = Field(default="terralimb", description="Audience tokens must be made for.")
    oidc_jwks: str | None = Field(default=None, description="File or address of the issuer's key set.")
    service_url: str | None = Field(
        default=None, description="Service that `terralimb fetch` asks; the stores of this home where unset."
    )
    service_key_file: Path | None = Field(
        default=None, description="File that holds the API key or token for that service."
    )
    public_url: str = Field(
        default="", description="Address of the service as agencies reach it, for links in what is pushed."
    )
    mqtt_url: str | None = Field(
        default=None, description="Broker for announcements, mqtt://host:port or mqtts://host:port; none where unset."
    )
    mqtt_user: str | None = Field(default=None, description="User at the broker.")
    mqtt_password_file: Path | None = Field(default=None, description="File that holds the password at the broker.")
    mqtt_ca_file: Path | None = Field(
        default=None, description="Certificates that vouch for the broker; those of the system where unset."
    )
    mqtt_retain_latest: bool = Field(
        default=False, description="Whether the newest announcement stands retained under cq/latest/."
    )
    wis2: bool = Field(default=False, description="Whether weather products are announced to WIS2 by that broker.")
    wis2_centre_id: str = Field(
        default="cn-terralimb-test", description="Centre as registered with WMO; the default is not registered."
    )
    wis2_policy: Literal["core", "recommended"] = "recommended"
    wis2_subtopic: str = Field(
        default="experimental/radio-occultation", description="Levels of the WIS2 topic after data/<policy>/weather."
    )
    webhook_private_addresses: bool = Field(default=False, description="Whether webhooks may lie in private networks.")
    webhook_give_up_days: float = Field(default=3.0, gt=0, description="Days of failing until a webhook is suspended.")
    log_level: str = "INFO"

    def bucket(self, name: Bucket) -> str:
        """Full name of one of the installation's buckets."""
        return f"{self.bucket_prefix}{name}"

    def resolved_database_url(self) -> str:
        """URL of the database that holds ledger and catalogue."""
        return self.database_url or f"sqlite:///{(self.home / 'terralimb.sqlite').resolve()}"


@lru_cache(maxsize=1)
def current() -> Settings:
    """Settings of this process, read once."""
    settings = Settings()
    return settings.model_copy(update={"home": settings.home.expanduser().resolve()})
