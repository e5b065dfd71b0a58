"""Addresses without what is secret in them: reports are pasted into public issues."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_QUERY = re.compile(r"([?&](?:token|key|secret|password|sig|signature|x-amz-[a-z-]+)=)[^&\s#]+", re.IGNORECASE)


def without_credentials(url: str) -> str:
    """The address with `user:password@` and secrets in its query replaced by `***`; a bare `git@` of ssh stays."""
    kept = url if re.match(r"(git\+)?ssh://git@", url) else _CREDENTIALS.sub("***@", url)
    return _SECRET_QUERY.sub(r"\1***", kept)
