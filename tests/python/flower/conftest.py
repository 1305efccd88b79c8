"""Everything here needs Flower; what only moves bytes is tested in test_transport.py without it."""

from __future__ import annotations

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
os.environ["VEILSUM_SIMULATION"] = "1"  # sites here are simulated, but where a test says otherwise
