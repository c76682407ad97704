"""Says why what is kept of an alias cannot be read."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from embedsvc.store.records import UnreadRoute


def unread(alias: str, error: Exception) -> UnreadRoute:
    """Make a route that cannot be read of what its reading raised."""
    told = map(_line, error.errors()) if isinstance(error, ValidationError) else [repr(error)]
    return UnreadRoute(alias, f"it cannot be read: {'; '.join(told)}")


def _line(error: ErrorDetails) -> str:
    return ": ".join(filter(None, (".".join(map(str, error["loc"])), error["msg"])))
