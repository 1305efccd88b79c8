"""Records whose gradient matches what was seen, found by optimisation.

Leakage layer. Deep leakage from gradients (Zhu et al., NeurIPS 2019), with labels from the sign of
the last bias where it can be read (iDLG, Zhao et al., 2020), a cosine distance under Adam (Geiping
et al., NeurIPS 2020) and then a squared distance under L-BFGS. It works for any model and with any
coordinates missing: only readable ones are compared. Several starts are tried, among them the
analytic guesses, and the one whose gradient fits best is returned; no attacker can do better than
look at that residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from veilsum.lab.leakage.victim import Victim
from veilsum.lab.leakage.view import View

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """What the optimisation found for one batch.

    Parameters
    ----------
    guesses : ndarray, shape (rows, columns)
        The records of the best start.
    residual : float
        Squared distance of its gradient to the seen one, over the seen one's squared length.
    """

    guesses: Floats
    residual: float


def match_gradient(
    victim: Victim,
    gradient: View,
    rows: int,
    generator: np.random.Generator,
    starts: Sequence[Floats] = (),
    random_starts: int = 4,
    steps: int = 150,
) -> Match:
    """Look for a batch of records with the gradient that was seen.

    Parameters
    ----------
    victim : Victim
        The model, which the attacker knows.
    gradient : View
        Of the mean loss of a batch; NaN where not readable.
    rows : int
        Records in the batch, which the attacker knows.
    generator : numpy.random.Generator
        Draws the random starts.
    starts : sequence of ndarray, each of shape (rows, columns)
        Where to start besides.
    random_starts : int
        How many starts are drawn from standard normal features.
    steps : int
        Steps of Adam; L-BFGS takes a third as many.
    """
    target = np.concatenate([gradient.values[name].ravel() for name in victim.names])
    known = np.flatnonzero(np.isfinite(target))
    empty = Match(np.empty((0, victim.inputs)), float("inf"))
    if not known.size:
        return empty
    goal = torch.from_numpy(target[known])
    size = goal.square().sum()
    if not size:
        return empty
    seen = torch.from_numpy(known)
    drawn = generator.standard_normal((random_starts, rows, victim.inputs))
    every = np.concatenate([np.array(starts).reshape(-1, rows, victim.inputs), drawn])
    inputs, labels = _with_labels(victim, gradient, every, rows)
    inputs.requires_grad_(True)
    labels.requires_grad_(True)

    def flat() -> torch.Tensor:
        found = victim.gradients(inputs, torch.sigmoid(labels))
        joined = torch.cat([found[name].flatten(1) for name in victim.names], dim=1)
        return joined[:, seen]

    def squared() -> torch.Tensor:
        return (flat() - goal).square().sum(dim=1) / size

    with torch.random.fork_rng(devices=[]):
        adam = torch.optim.Adam([inputs, labels], lr=0.1)
        for step in range(steps):
            adam.zero_grad(set_to_none=True)
            # The direction says where to go, the length keeps bias and features apart.
            cosine = 1 - torch.nn.functional.cosine_similarity(flat(), goal[None], dim=1)
            cosine.sum().backward()  # type: ignore[no-untyped-call]
            for group in adam.param_groups:
                group["lr"] = 0.1 * (1 - step / steps)
            adam.step()
        lbfgs = torch.optim.LBFGS(
            [inputs, labels], max_iter=max(1, steps // 3), line_search_fn="strong_wolfe"
        )

        def closure() -> torch.Tensor:
            lbfgs.zero_grad(set_to_none=True)
            total = squared().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        lbfgs.step(closure)  # type: ignore[no-untyped-call]
    residuals = squared().detach()
    residuals = torch.where(torch.isfinite(residuals), residuals, torch.inf)
    best = int(residuals.argmin())
    if not torch.isfinite(inputs[best]).all():
        return empty
    return Match(inputs[best].detach().numpy().copy(), float(residuals[best]))


def residual(victim: Victim, gradient: View, guess: Floats) -> float:
    """Return how badly a batch of one explains a gradient, with the better of both labels.

    Parameters
    ----------
    victim : Victim
        The model.
    gradient : View
        NaN where not readable.
    guess : ndarray, shape (columns,)
        The record.

    Returns
    -------
    float
        Squared distance over the seen gradient's squared length; infinite when nothing was seen.
    """
    target = np.concatenate([gradient.values[name].ravel() for name in victim.names])
    known = np.isfinite(target)
    size = float(np.square(target[known]).sum())
    if not size:
        return float("inf")
    inputs = torch.from_numpy(np.stack([guess, guess])[:, None])
    found = victim.gradients(inputs, torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    flat = torch.cat([found[name].flatten(1) for name in victim.names], dim=1).numpy()
    return float((np.square(flat[:, known] - target[known]).sum(axis=1) / size).min())


def _with_labels(
    victim: Victim, gradient: View, starts: Floats, rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return starts and, in logits, their labels: known, or each start with either label."""
    last = float(gradient.values[victim.last_bias].ravel()[0])
    certain = 8.0
    if rows == 1 and np.isfinite(last):
        # dL/db of the logit is p - y, so its sign is the label.
        labels = np.full((len(starts), 1), -certain if last > 0 else certain)
        return torch.from_numpy(starts.copy()), torch.from_numpy(labels)
    if rows == 1:
        labels = np.repeat([[-certain], [certain]], len(starts), axis=0)
        return torch.from_numpy(np.concatenate([starts, starts])), torch.from_numpy(labels)
    # Half of the records either way to begin with; the optimisation moves them.
    labels = np.tile(np.where(np.arange(rows) % 2 == 0, 1.0, -1.0), (len(starts), 1))
    return torch.from_numpy(starts.copy()), torch.from_numpy(labels)
