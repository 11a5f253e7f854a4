"""Small trained networks, as plain matrices: a few thousand numbers that weigh what the percepts measured."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights"


class Network(NamedTuple):
    """Several networks of two hidden layers that were trained apart and vote; all arrays are float32."""

    #: (features,) what is taken from each feature, and what it is divided by.
    mean: Array
    scale: Array
    #: Per layer (voters, inputs, outputs) weights and (voters, 1, outputs) biases.
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def __call__(self, features: Array) -> Array:
        """(n, outputs) mean score of the voters for (n, features) measurements; higher is likelier."""
        signal = np.clip((features - self.mean) / self.scale, -8, 8)[None]
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            signal = np.maximum(signal @ weights + biases, 0)
        scores: Array = (signal @ self.weights[-1] + self.biases[-1]).mean(axis=0)
        return scores


@cache
def trained(name: str) -> Network:
    """The network of this name from the weights that come with the package."""
    with np.load(WEIGHTS / f"{name}.npz", allow_pickle=False) as stored:
        layers = sum(1 for key in stored.files if key.startswith("weights"))
        return Network(
            mean=stored["mean"].astype(np.float32),
            scale=stored["scale"].astype(np.float32),
            weights=tuple(stored[f"weights{layer}"].astype(np.float32) for layer in range(layers)),
            biases=tuple(stored[f"biases{layer}"].astype(np.float32) for layer in range(layers)),
        )


def chances(scores: Array) -> Array:
    """(n,) probabilities that add up to 1 from (n,) scores."""
    raised = np.exp(scores - scores.max())
    shares: Array = (raised / raised.sum()).astype(np.float32)
    return shares
