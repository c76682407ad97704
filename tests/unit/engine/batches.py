"""Batches of made-up texts, and how far two encoders' vectors are apart."""

import numpy as np
import tiny_models

LENGTHS = {
    "one": [5],
    "one token": [1],
    "equal": [9] * 4,
    "like": [10, 12, 11, 13, 10],
    "mixed, in no order": [40, 3, 17, 3, 256, 41, 90, 16, 5],
    "the longest": [512, 7],
}


def batch_of(lengths, words=tiny_models.WORDS):
    random = np.random.default_rng(sum(lengths))
    return [random.integers(5, words, length).tolist() for length in lengths]


def cosines(one, other):
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
