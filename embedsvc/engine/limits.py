"""How large a batch may be."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may be.

    Attributes:
        tokens: What the encoder may spend. A single text of more is a batch of its own.
        texts: How many texts it may hold.
        padded: Whether the encoder spends the longest text's length on every text.
    """

    tokens: int
    texts: int
    padded: bool = True

    def admits(self, count: int, total: int, longest: int) -> bool:
        """Whether `count` texts of `total` tokens, the longest of `longest`, are a batch."""
        spent = count * longest if self.padded else total
        return count == 1 or (count <= self.texts and spent <= self.tokens)

    def within(self, tokens: int) -> "BatchLimits":
        """The same, and no more than so many tokens."""
        return replace(self, tokens=min(self.tokens, tokens))

    def charge(self, length: int) -> int:
        """What a text costs its caller: its tokens, and no less than its place among the texts."""
        return max(length, -(-self.tokens // self.texts))
