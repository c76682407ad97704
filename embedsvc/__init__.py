"""A self-hosted embedding service."""
