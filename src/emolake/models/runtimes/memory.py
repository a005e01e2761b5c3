"""Recognising that there was no memory left."""

# The messages of torch's allocator for the CPU, CUDA's libraries and onnxruntime when there is no room.
_OUT_OF_MEMORY = ("can't allocate memory", "_STATUS_ALLOC_FAILED", "Failed to allocate memory")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a model had no room, in main memory or on its device."""
    import torch

    # Only torch's allocator for CUDA has an exception class of its own.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        sign in str(error) for sign in _OUT_OF_MEMORY
    )
