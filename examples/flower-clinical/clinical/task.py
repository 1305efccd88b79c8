"""A network of one's own, its training, and its score: nothing here knows of encryption."""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(9, 32), nn.ReLU(), nn.Linear(32, 1))


def load(arrays):
    model = network()
    model.load_state_dict({name: torch.tensor(one) for name, one in arrays.items()})
    return model


def train(arrays, inputs, labels, seed):
    model, generator = load(arrays), torch.Generator().manual_seed(seed)
    inputs, labels = torch.tensor(inputs), torch.tensor(labels, dtype=torch.float32)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(2):
        for batch in torch.randperm(len(labels), generator=generator).split(128):
            scores = model(inputs[batch]).squeeze(1)
            loss = nn.functional.binary_cross_entropy_with_logits(scores, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return {name: one.numpy() for name, one in model.state_dict().items()}, loss.item()


def auc(arrays, inputs, labels):
    with torch.no_grad():
        scores = load(arrays)(torch.tensor(inputs)).squeeze(1).numpy()
    return float(roc_auc_score(np.asarray(labels), scores))
