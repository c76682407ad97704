"""Pure checks of a request, the same for every way in.

What is wrong with the request as a whole is raised; what is wrong with one input is returned, so that
the others can still be answered.
"""

from collections.abc import Sized

from embedsvc.config import LimitSettings
from embedsvc.errors import InvalidRequestError
from embedsvc.types import TextOrIds


def check_count(inputs: Sized, limits: LimitSettings, param: str) -> None:
    """Raise InvalidRequestError unless there are 1 to `limits.max_inputs` inputs."""
    if not inputs:
        raise InvalidRequestError(f"{param} must hold at least one input", param=param)
    if len(inputs) > limits.max_inputs:
        raise InvalidRequestError(
            f"{param} must hold {limits.max_inputs} inputs at most; got {len(inputs)}", param=param
        )


def find_fault(item: TextOrIds, limits: LimitSettings) -> str | None:
    """Return what one input must or must not be, to be said after its name; None where nothing is wrong.

    Token ids are only checked for being there: which of them exist, the vocabulary knows.
    """
    if isinstance(item, str):
        return _find_text_fault(item, limits)
    if not item:
        return "must not be an empty list of token ids"
    if len(item) > limits.max_text_chars:
        return f"must be {limits.max_text_chars} token ids at most; got {len(item)}"
    return None


def _find_text_fault(text: str, limits: LimitSettings) -> str | None:
    if not text:
        return "must not be an empty string"
    if len(text) > limits.max_text_chars:
        return f"must be {limits.max_text_chars} characters at most; got {len(text)}"
    if "\x00" in text:
        return "must not contain the character U+0000"
    return None


def check_dimensions(wanted: int | None, own: int, *, allowed: bool, model: str) -> int:
    """Return how many dimensions to keep.

    Args:
        wanted: What the request asks for; None for all.
        own: What the model has.
        allowed: Whether vectors of the model may be cut.
        model: The model's name, for the message.

    Raises:
        InvalidRequestError: Out of range, or not allowed for this model.
    """
    if wanted is None or wanted == own:
        return own
    if not allowed:
        raise InvalidRequestError(
            f"dimensions must be {own} for {model}, which was not trained to be cut; the operator "
            f'can allow it with models.settings."{model}".allow_dimensions',
            param="dimensions",
        )
    if not 1 <= wanted <= own:
        raise InvalidRequestError(
            f"dimensions must be from 1 to {own} for {model}; got {wanted}", param="dimensions"
        )
    return wanted
