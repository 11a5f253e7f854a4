"""Fits the small networks of the ears: two hidden layers, Adam, written out in numpy because it is short.

Every case is a list of alternatives with one or more right ones; the loss is the cross-entropy of a softmax over the
alternatives. A classifier is the same thing with one output per class.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.ears.network import Network

Array = NDArray[np.float32]


def fit_choice(
    cases: Array,
    present: NDArray[np.bool_],
    right: Array,
    *,
    hidden: tuple[int, int] = (32, 24),
    rounds: int = 40,
    seed: int = 0,
    decay: float = 1e-3,
    drop: float = 0.15,
    noise: float = 0.1,
    speed: float = 2e-3,
) -> Network:
    """Learn to choose: (cases, alternatives, features), which are present, and the share of rightness of each.

    With a single alternative per case and `right` of (cases, 1, classes) it learns to classify instead.
    """
    rng = np.random.default_rng(seed)
    classes = right.ndim == 3
    usable = right.reshape(len(right), -1).sum(axis=1) > 0
    cases, present, right = cases[usable], present[usable], right[usable]
    mean = cases[present].mean(axis=0)
    scale = cases[present].std(axis=0) + 1e-3
    standard = np.clip((cases - mean) / scale, -8, 8) * present[..., None]
    outputs = right.shape[2] if classes else 1
    sizes = (cases.shape[2], *hidden, outputs)
    values: list[Array] = []
    for inputs, width in itertools.pairwise(sizes):
        values.append(rng.normal(0, 1 / np.sqrt(inputs), (inputs, width)).astype(np.float32))
        values.append(np.zeros(width, np.float32))
    first = [np.zeros_like(value) for value in values]
    second = [np.zeros_like(value) for value in values]
    batch, step = 64, 0
    steps = rounds * -(-len(standard) // batch)
    for _ in range(rounds):
        order = rng.permutation(len(standard))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            signal = standard[chosen]
            signal = (signal + rng.normal(0, noise, signal.shape)).astype(np.float32)
            before1 = signal @ values[0] + values[1]
            kept1 = (rng.random(before1.shape) > drop) / np.float32(1 - drop)
            after1 = np.maximum(before1, 0) * kept1
            before2 = after1 @ values[2] + values[3]
            after2 = np.maximum(before2, 0)
            scores = after2 @ values[4] + values[5]
            if classes:
                error = _softmax(scores) - right[chosen]
            else:
                error = (_softmax(np.where(present[chosen], scores[..., 0], -1e9)) - right[chosen])[..., None]
                error *= present[chosen][..., None]
            error = (error / len(chosen)).astype(np.float32)
            back2 = (error @ values[4].T) * (before2 > 0)
            back1 = (back2 @ values[2].T) * kept1 * (before1 > 0)
            slopes = []
            for into, out in ((signal, back1), (after1, back2), (after2, error)):
                flat_in, flat_out = into.reshape(-1, into.shape[-1]), out.reshape(-1, out.shape[-1])
                slopes += [flat_in.T @ flat_out, flat_out.sum(axis=0)]
            step += 1
            pace = speed * 0.5 * (1 + np.cos(np.pi * step / steps))
            for index, slope in enumerate(slopes):
                first[index] = 0.9 * first[index] + 0.1 * slope
                second[index] = 0.999 * second[index] + 0.001 * slope**2
                move = first[index] / (1 - 0.9**step) / (np.sqrt(second[index] / (1 - 0.999**step)) + 1e-8)
                shrink = decay * values[index] if index % 2 == 0 else 0.0
                values[index] = (values[index] - pace * (move + shrink)).astype(np.float32)
    return Network(
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        weights=tuple(value[None, :] for value in values[::2]),
        biases=tuple(value[None, None, :] for value in values[1::2]),
    )


def vote(networks: list[Network]) -> Network:
    """One network that answers with the mean of several fitted to the same cases."""
    return Network(
        mean=networks[0].mean,
        scale=networks[0].scale,
        weights=tuple(np.concatenate(layers) for layers in zip(*(one.weights for one in networks), strict=True)),
        biases=tuple(np.concatenate(layers) for layers in zip(*(one.biases for one in networks), strict=True)),
    )


def save(network: Network, path: Path, sharpness: float = 1.0) -> None:
    """Write a network as half-precision matrices; `sharpness` scales its scores so that their softmax is calibrated."""
    weights = [*network.weights[:-1], network.weights[-1] * sharpness]
    biases = [*network.biases[:-1], network.biases[-1] * sharpness]
    arrays: dict[str, Any] = {f"weights{layer}": value.astype(np.float16) for layer, value in enumerate(weights)}
    arrays |= {f"biases{layer}": value.astype(np.float16) for layer, value in enumerate(biases)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, mean=network.mean, scale=network.scale, **arrays)


def _softmax(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Array = raised / raised.sum(axis=-1, keepdims=True)
    return shares
