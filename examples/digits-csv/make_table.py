"""Write scikit-learn's digits as a table: a row a picture, a picture at one of five sites."""

import csv

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
sites = np.random.default_rng(1).integers(5, size=len(digits.target))
pixels = [f"p{i}" for i in range(64)]

with open("digits.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["site", *pixels, "digit"])
    for site, row, digit in zip(sites, digits.data.astype(int), digits.target, strict=True):
        table.writerow([f"site {site + 1}", *row, digit])

with open("ranges.toml", "w") as file:
    for pixel in pixels:
        file.write(f"[{pixel}]\nlow = 0\nhigh = 16\n\n")
    levels = ", ".join(f'"{digit}"' for digit in range(10))
    file.write(f'[digit]\nkind = "categorical"\nlevels = [{levels}]\n')
