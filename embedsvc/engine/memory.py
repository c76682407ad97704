"""Telling that memory ran out from every other failure."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an encoder failed for want of memory."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
