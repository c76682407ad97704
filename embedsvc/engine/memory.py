"""When a device's memory runs out: telling it from every other failure, and giving back what is not used."""

SIGNS = (
    "out of memory",  # CUDA's own words, of the driver and of torch's allocator
    "_STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSPARSE
    "can't allocate memory",  # torch's allocator on a CPU
    "std::bad_alloc",  # whatever is written in C++
)
"""What errors of memory say that have no class of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an encoder failed for want of memory, so that a smaller batch might have gone through."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's; not imported
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def release_cached_memory() -> None:
    """Give back what torch's allocator keeps of GPUs and does not use, against fragmentation.

    To be called when nothing holds the error any more: its traceback has the failed batch's tensors. Waits
    for every GPU, so not to be called without need. Nothing happens without a GPU.
    """
    import torch  # noqa: PLC0415 - the server, which imports this module, never needs it

    torch.cuda.empty_cache()
