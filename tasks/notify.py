"""Tell somebody outside: a JSON body to the address in ``LORAMILL_WEBHOOK``. Rows and answers are never in it."""

import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tasks.progress import say

ADDRESS: Final = "LORAMILL_WEBHOOK"
SECONDS: Final = 10.0


def notify(content: Mapping[str, Any]) -> bool:
    """Send a notice; tell whether it was taken. Nobody's work stops because nobody listens."""
    address = os.environ.get(ADDRESS, "")
    if not address:
        return False
    if not address.lower().startswith(("http://", "https://")):
        say("notify", f"{ADDRESS} must begin with http:// or https://; nobody was told")
        return False
    body = json.dumps(content, ensure_ascii=False, default=str).encode()
    try:
        request = Request(address, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 - checked above
        with urlopen(request, timeout=SECONDS):  # noqa: S310
            return True
    except (OSError, ValueError, HTTPException) as error:  # what it says may quote the address: only its kind is told
        say("notify", f"the webhook at {_host(address)} did not take the notice: {type(error).__name__}")
        return False


def _host(address: str) -> str:
    """Return the name of the machine; the rest of an address may be a secret."""
    try:
        return urlsplit(address).hostname or "an address without a host"
    except ValueError:
        return "an address that cannot be read"
