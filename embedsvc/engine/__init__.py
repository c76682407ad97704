"""Text to vectors: tokenizing, batching, replicas."""
