"""How a setting names a secret: by where it is kept, never by its value."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from pydantic_settings import NoDecode

API_KEY = re.compile(r"(?<![A-Za-z0-9_-])emb_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
"""One of our own API keys, wherever it is in a text."""

FORMS = "file:PATH, vault:MOUNT/PATH#FIELD or aws:SECRET_ID#FIELD"

Scheme: TypeAlias = Literal["file", "vault", "aws"]


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret, which may be shown and logged; as a setting it is a string.

    Attributes:
        scheme: What kind of place keeps the secret.
        name: Its path, or AWS's name or ARN for it.
        field: Which of its fields it is; None: all of it.
    """

    scheme: Scheme
    name: str
    field: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference.

        Raises:
            ValueError: It is none. The message says how to write one, and never what was written, which may
                be the secret itself.
        """
        if API_KEY.search(text) or not text.isprintable():
            raise ValueError(f"must say where a secret is, and not be one: {FORMS}")
        scheme, _, place = text.partition(":")
        match scheme:
            case "file" if place:
                return cls("file", place)
            case "vault":
                return cls("vault", *_parse_vault(place))
            case "aws":
                return cls("aws", *_parse_aws(place))
        raise ValueError(_explain(text))

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}" + (f"#{self.field}" if self.field else "")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(str(value)),
            serialization=core_schema.to_string_ser_schema(),
        )


Reference: TypeAlias = Annotated[SecretRef, NoDecode]
"""The type of a setting: in the environment, too, a reference is a string and not JSON."""


def _parse_vault(place: str) -> tuple[str, str]:
    path, _, field = place.partition("#")
    if not all((*path.split("/"), field)) or "/" not in path:
        raise ValueError("of a secret in Vault must be vault:MOUNT/PATH#FIELD")
    return path, field


def _parse_aws(place: str) -> tuple[str, str | None]:
    name, mark, field = place.partition("#")
    if not name or (mark and not field):
        raise ValueError("of a secret in AWS must be aws:SECRET_ID or aws:SECRET_ID#FIELD")
    return name, field or None


def _explain(text: str) -> str:
    """Say what is wrong, without a word of what was written."""
    if text.startswith(("/", "./", "../", "~/")):
        return "must begin with where the secret is: file: before the path of a file"
    return f"must be a reference to a secret, never the secret itself: {FORMS}"
