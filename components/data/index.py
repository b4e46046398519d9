"""The package index that pip is set to: where archives lie, read by its simple API."""

import ast
import base64
import json
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from email.message import Message
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

TIMEOUT_S = 60
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"


def urls() -> tuple[str, ...]:
    """Addresses of the indexes in pip's order: the main one, then the extra ones.

    From PIP_INDEX_URL and PIP_EXTRA_INDEX_URL, else pip's configuration, else pip's own default.
    """
    settings = _pip_settings()
    main = os.environ.get("PIP_INDEX_URL") or settings.get("index-url") or _pip_default()
    extra = os.environ.get("PIP_EXTRA_INDEX_URL") or settings.get("extra-index-url", "")
    return tuple(dict.fromkeys([*main.split(), *extra.split()]))


def links(index: str, package: str) -> dict[str, str]:
    """File name -> address of everything that an index holds of a package.

    Raises:
        OSError: the index does not answer or does not know the package.
        ValueError: it answers with something that is no index page.
    """
    page = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', package).lower()}/"
    if urlsplit(page).scheme == "file":
        return _links_in_folder(page)
    with opened(page) as answer:
        body = answer.read()
        base, headers = answer.geturl(), answer.headers  # type: ignore[attr-defined]
    found = _parse(body, headers)
    return {name: _with_login(urljoin(base, link), index) for name, link in found.items()}


def opened(address: str) -> BinaryIO:
    """The bytes at an address; a user and password in it are sent to its host alone.

    Raises:
        OSError: no answer, or a refusal.
    """
    parts = urlsplit(address)
    netloc = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(
        urlunsplit(parts._replace(netloc=netloc)), headers={"Accept": ACCEPT}
    )
    if parts.username:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        token = base64.b64encode(secret).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return urllib.request.urlopen(request, timeout=TIMEOUT_S, context=_trust())


def shown(address: str) -> str:
    """An address without user, password and query, fit for a message."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _with_login(link: str, index: str) -> str:
    """A link of an index with the index's user and password, if it stays on its host."""
    target, origin = urlsplit(link), urlsplit(index)
    login, at, host = origin.netloc.rpartition("@")
    if not at or (target.scheme, target.netloc) != (origin.scheme, host):
        return link
    return urlunsplit(target._replace(netloc=f"{login}@{host}"))


def _trust() -> ssl.SSLContext:
    """The certificates that pip was told to trust, else the system's."""
    cert = os.environ.get("PIP_CERT") or _pip_settings().get("cert")
    return ssl.create_default_context(cafile=cert)


def _pip(*arguments: str) -> str:
    """What pip prints, empty where there is no pip."""
    command = [sys.executable, "-m", "pip", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


@cache
def _pip_settings() -> dict[str, str]:
    """Settings of pip's configuration files that hold for every command."""
    settings: dict[str, str] = {}
    for line in _pip("config", "list").splitlines():
        name, _, value = line.partition("=")
        if name.startswith("global."):
            settings[name.removeprefix("global.")] = str(ast.literal_eval(value))
    return settings


def _pip_default() -> str:
    """The index that pip uses when it is told of none, empty where there is no pip."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        found = re.search(r"\(default\s+(\S+?)\)", _pip("help", "install"))
        return found[1] if found else ""
    return str(PyPI.simple_url)


def _links_in_folder(page: str) -> dict[str, str]:
    """Links of an index that lies on this machine: a page, or the files themselves."""
    folder = Path(urllib.request.url2pathname(urlsplit(page).path))
    if (folder / "index.html").is_file():
        found = _parse((folder / "index.html").read_bytes(), Message())
        return {name: urljoin(page, link) for name, link in found.items()}
    return {path.name: path.as_uri() for path in folder.iterdir()}


def _parse(body: bytes, headers: Message) -> dict[str, str]:
    if "json" in headers.get_content_type():
        return {str(file["filename"]): str(file["url"]) for file in json.loads(body)["files"]}
    page = _Anchors()
    page.feed(body.decode())
    return page.links


class _Anchors(HTMLParser):
    """Text -> address of every link on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self._address: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._address = dict(attrs).get("href") if tag == "a" else self._address

    def handle_data(self, data: str) -> None:
        if self._address and data.strip():
            self.links[data.strip()] = self._address
            self._address = None
