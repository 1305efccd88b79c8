"""Five clouds train a small CNN on scikit-learn's digits; nobody sees another's update."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import veilsum as vs


def model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip


def train(model, data, context):
    images, labels = data
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    for batch in torch.randperm(len(labels), generator=context.generator).split(32):
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss


def evaluate(model, data):
    images, labels = data
    return vs.Predictions.classes(labels, model(images).softmax(1))


digits = load_digits()
images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
parts = np.array_split(np.random.default_rng(1).permutation(len(labels)), 6)
data = [(images[rows], labels[rows]) for rows in parts]

task = vs.Task(model=model, train=train, evaluate=evaluate)
run = vs.federate(task, data[:5], rounds=12, held_out=data[5])
accuracy = run.records[-1]["accuracy"]
print(f"accuracy {accuracy:.3f}, report {run.report}")
