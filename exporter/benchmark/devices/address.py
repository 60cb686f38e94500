"""`ssh://[user@]host[:port][/directory]` -> `Address`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from slide_export.core.errors import RequestError

ADDRESS_FORMAT = "ssh://[user@]host[:port][/directory]"
NAME = re.compile(r"[\w.][\w.%:+-]*")  # nothing that ssh or a shell could take for something else
DIRECTORY = re.compile(r"(/[\w.+@-]+)*/?")


@dataclass(frozen=True)
class Address:
    """Address of a device that ssh reaches.

    Attributes:
        user, port: None leaves them to ssh and its configuration.
        directory: parent of our directory there; "" takes the device's directory for temporary files.
    """

    host: str
    user: str | None
    port: int | None
    directory: str

    @property
    def login(self) -> str:
        """Destination argument of ssh: `user@host`."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def url(self) -> str:
        """The URL that the user gave, in its normal form."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, port = f"{self.user}@" if self.user else "", f":{self.port}" if self.port else ""
        return f"ssh://{user}{host}{port}{self.directory}"


def parse(url: str) -> Address:
    """Parse a URL, `ssh://user@board:2222/data`.

    Raises:
        RequestError: it has another form, or holds a password.
    """
    if not url.isprintable() or " " in url:  # `urlsplit` drops some of these without a word
        raise RequestError(f"expected a device like {ADDRESS_FORMAT}, found {url!r}")
    try:
        parts = urlsplit(url)
        host, port = _host(parts.netloc), parts.port
    except ValueError as error:
        raise RequestError(f"expected a device like {ADDRESS_FORMAT}, found {url!r}: {error}") from None
    if parts.password is not None:
        raise RequestError(
            f"expected a device like {ADDRESS_FORMAT}, found one with a password: use a key, which ssh keeps safe"
        )
    extra = parts.query or parts.fragment
    names = [name for name in (host, parts.username) if name is not None]
    if extra or not all(NAME.fullmatch(name) for name in names) or not DIRECTORY.fullmatch(parts.path):
        raise RequestError(f"expected a device like {ADDRESS_FORMAT}, found {url!r}")
    return Address(host, parts.username, port, parts.path.rstrip("/"))


def _host(place: str) -> str:
    """The host of a place as it was typed: ssh's configuration tells upper case from lower, `urlsplit` does not."""
    host = place.rpartition("@")[2]
    if host.startswith("["):
        inside, _, port = host[1:].partition("]")
        return inside if port[:1] in ("", ":") else ""
    return host.partition(":")[0]
