"""A training loop of your own, whose averaging becomes encrypted; scikit-learn's digits again."""

import copy

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import veilsum as vs

digits = load_digits()
images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
*clouds, held_out = np.array_split(np.random.default_rng(1).permutation(len(labels)), 6)

torch.manual_seed(1)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Flatten(), nn.Linear(32 * 16, 10),
)  # fmt: skip


def local_update(rows):
    """Train a copy for one epoch and return by how much each tensor changed."""
    local = copy.deepcopy(model).train()
    optimiser = torch.optim.Adam(local.parameters(), lr=0.003)
    for batch in torch.tensor(rows)[torch.randperm(len(rows))].split(32):
        loss = nn.functional.cross_entropy(local(images[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    before = model.state_dict()
    return {name: tensor - before[name] for name, tensor in local.state_dict().items()}


averager = vs.FederatedAverager(model.state_dict(), clouds=len(clouds))
for _ in range(12):
    updates = [local_update(rows) for rows in clouds]
    mean = averager.average(updates, rows=[len(rows) for rows in clouds])
    model.load_state_dict({name: old + mean[name] for name, old in model.state_dict().items()})

predicted = model.eval()(images[held_out]).argmax(1)
accuracy = (predicted == labels[held_out]).float().mean().item()
print(f"accuracy {accuracy:.3f}")
