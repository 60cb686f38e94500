"""`ssh://[user@]host[:port][/directory]` -> `Address`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from slide_export.core.errors import RequestError

FORM = "ssh://[user@]host[:port][/directory]"
NAME = re.compile(r"[\w.][\w.%:+-]*")  # nothing that ssh or a shell could take for something else
DIRECTORY = re.compile(r"(/[\w.+@-]+)*/?")


@dataclass(frozen=True)
class Address:
    """Where a device is.

    Attributes:
        user, port: None leaves them to ssh and its configuration.
        directory: where to make a directory of ours; "" takes the device's place for temporary files.
    """

    host: str
    user: str | None
    port: int | None
    directory: str

    @property
    def login(self) -> str:
        """What ssh is called with."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def url(self) -> str:
        """What the user calls it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, port = f"{self.user}@" if self.user else "", f":{self.port}" if self.port else ""
        return f"ssh://{user}{host}{port}{self.directory}"


def parse(url: str) -> Address:
    """Returns the address in a URL.

    Raises:
        RequestError: it is none, or holds a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise RequestError(f"expected a device like {FORM}, found {url!r}: {error}") from None
    if parts.password is not None:
        raise RequestError(f"expected a device like {FORM}, found one with a password: use a key, which ssh keeps safe")
    extra = parts.query or parts.fragment
    names = [name for name in (host, parts.username) if name is not None]
    if extra or not all(NAME.fullmatch(name) for name in names) or not DIRECTORY.fullmatch(parts.path):
        raise RequestError(f"expected a device like {FORM}, found {url!r}")
    return Address(host, parts.username, port, parts.path.rstrip("/"))
