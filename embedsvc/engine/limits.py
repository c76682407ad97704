"""How large a batch may be."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may be.

    Attributes:
        tokens: What the encoder may spend. A single text of more is a batch of its own.
        texts: How many texts it may hold.
        padded: Whether the encoder spends the longest text's length on every text.
        place: What a text's place among the others is worth in tokens.
    """

    tokens: int
    texts: int
    padded: bool = True
    place: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", -(-self.tokens // self.texts))

    def admits(self, count: int, total: int, longest: int) -> bool:
        """Whether `count` texts of `total` tokens, the longest of `longest`, are a batch."""
        spent = count * longest if self.padded else total
        return count == 1 or (count <= self.texts and spent <= self.tokens)

    def charge(self, length: int) -> int:
        """What a text costs its caller: its tokens, and no less than its place among the texts."""
        return max(length, self.place)
