"""Which addresses only this machine can reach."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, an IP literal or a name; a name other than localhost counts as open."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def netloc_of(origin: str) -> str:
    """Host and port of an origin; empty for "null" and for what is none, such as "http://[" or "http://me@host"."""
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return ""
    return "" if "@" in netloc else netloc
