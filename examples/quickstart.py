"""The whole of Veilsum in seven calls: ten clients, one sum, and nothing else is ever opened.

Run it with `python examples/quickstart.py`; it takes about 1 GB of memory. All parties stand in one
process here. In life `keygen` and `open_sum` belong to the authority, `encrypt` to each client and
`weighted_sum` to the aggregator, and what passes between them goes through `to_bytes`.
"""

import numpy as np, veilsum as vs  # noqa: E401, I001 - as the README prints it

rng = np.random.default_rng(7)
updates = [rng.normal(0, 0.1, 10_000_000).astype(np.float32) for _ in range(10)]

plan = vs.Plan(clients=10, value_bits=16)  # explains itself: print(plan)
secret, public = vs.keygen(plan)
rnd = vs.Round(plan, public, size=10_000_000, limit=1.0)  # clipped to ±limit, and counted
uploads = [vs.encrypt(rnd, update) for update in updates]  # NumPy arrays or torch tensors
total = vs.weighted_sum(rnd, uploads)
key = vs.open_sum(secret, rnd, total)
mean = vs.decrypt(key, total, average=True)  # float32, np.ndarray

print(plan)
error = np.abs(mean - np.mean(updates, axis=0, dtype=np.float64)).max()
step = 1.0 / (2**15 - 1)
print(f"{uploads[0].nbytes / mean.size:.3f} bytes a value in an upload, {mean.dtype} out")
print(f"largest error of the mean: {error:.2e} (quantisation allows {step / 2:.2e})")
if error > step / 2 + 1e-7:
    raise SystemExit("the mean is further off than quantisation allows")
