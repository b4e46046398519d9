"""Whom to tell what: a webhook, an e-mail or a command, by the name of what happened."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components.records import Record
from pipelines.deployments import secrets
from pipelines.deployments.secrets import Secret
from pipelines.deployments.words import OCCASIONS, one_of

USUAL = ("failed", "late", "missed", "worker_silent")


def _address(url: str) -> str:
    if secrets.is_reference(url):
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no address; write https://host/path, env:NAME or file:PATH")
    return url


def _open(values: Any) -> bool:
    """Whether the address of a webhook may be read by everybody."""
    url = str(values.get("webhook", "")) if isinstance(values, dict) else ""
    parts = urlsplit(url)
    return secrets.is_reference(url) or not (parts.username or parts.password or parts.query)


def _server(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+:[0-9]{1,5}", text):
        raise ValueError("is no mail server; write host:port")
    return text


class Email(Record):
    """An e-mail through a server that is spoken to by SMTP."""

    to: Annotated[tuple[str, ...], Field(min_length=1)]
    sender: str
    server: Annotated[str, AfterValidator(_server)]
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: Secret | None = None
    password: Secret | None = None

    @model_validator(mode="before")
    @classmethod
    def _hidden(cls, values: Any) -> Any:
        secrets.demand(values, ("user", "password"))
        return values

    @model_validator(mode="after")
    def _both(self) -> "Email":
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together; write both or none")
        if self.user and self.security == "none" and not self.server.startswith("127."):
            raise ValueError("a password would travel in clear; write security starttls or tls")
        return self


class Notice(Record):
    """One way to tell, and what is told."""

    webhook: Annotated[str, AfterValidator(_address)] | None = None
    """Gets a POST of JSON."""
    token: Secret | None = None
    """Sent to the webhook as a bearer."""
    email: Email | None = None
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Words of a command, run without a shell; the facts are in its environment."""
    when: tuple[
        Annotated[str, BeforeValidator(one_of(OCCASIONS, "nothing of this name is told"))], ...
    ] = USUAL

    @model_validator(mode="before")
    @classmethod
    def _hidden(cls, values: Any) -> Any:
        secrets.demand(values, ("token",))
        if not _open(values):
            raise ValueError("the webhook holds a secret in clear; write env:NAME or file:PATH")
        return values

    @model_validator(mode="after")
    def _one(self) -> "Notice":
        ways = [way for way in ("webhook", "email", "command") if vars(self)[way] is not None]
        if len(ways) != 1:
            said = " and ".join(ways) or "nothing"
            raise ValueError(f"{said} given; write one of webhook, email, command")
        if not self.when:
            raise ValueError(f"nothing is told; there are: {', '.join(OCCASIONS)}")
        if self.token and not self.webhook:
            raise ValueError("only a webhook takes a token; leave it out")
        return self
