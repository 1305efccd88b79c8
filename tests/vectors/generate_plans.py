"""The vectors of plans, v2/plans.json: from the oracle in exact fractions, see generate.py.

python tests/vectors/generate_plans.py            rewrite v2/plans.json
python tests/vectors/generate_plans.py --check    write nothing; fail when it would change
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "python"))

from oracle import plans  # noqa: E402

#: (clients, value bits, weight bits, security, ring, optimise)
REQUESTS = (
    # DESIGN's table.
    (10, 16, 0, 128, "n2048", "speed"),
    (10, 16, 0, 128, "n4096", "speed"),
    (10, 16, 0, 128, "n8192", "size"),
    (10, 8, 0, 128, "n2048", "speed"),
    (4, 8, 0, 128, "n2048", "speed"),
    (8, 6, 0, 128, "n2048", "speed"),
    (3, 4, 0, 128, "n2048", "speed"),
    # Few and many digits, one digit, wide bases, weights.
    (2, 2, 0, 128, "n2048", "speed"),
    (2, 2, 0, 128, "n8192", "size"),
    (2, 32, 0, 128, "n2048", "speed"),
    (1000, 16, 0, 128, "n2048", "speed"),
    (1000, 16, 0, 128, "n4096", "speed"),
    (100, 32, 0, 128, "n4096", "speed"),
    (5, 16, 12, 128, "n4096", "speed"),
    (16, 8, 16, 128, "n8192", "size"),
    (1 << 20, 2, 0, 128, "n4096", "speed"),
    (1 << 20, 2, 0, 128, "n2048", "speed"),
    (1 << 20, 32, 0, 128, "n8192", "size"),
    (1 << 20, 32, 0, 128, "n4096", "speed"),
    # Larger degrees.
    (10, 16, 0, 128, "n4096q48", "speed"),
    (10, 16, 0, 192, "n4096q48", "speed"),
    (3, 8, 14, 192, "n8192q96", "speed"),
    (300, 12, 3, 192, "n8192q96", "size"),
    (10, 16, 0, 256, "n16384q192", "size"),
)


def plan_vectors() -> dict:
    rows = []
    for clients, bits, weights, security, name, optimise in REQUESTS:
        plan = plans.Plan(clients, bits, weights, security, name)
        assert plan.fits
        assert plan.secure
        fields = plan.fields(optimise)
        rows.append(
            {
                "clients": clients,
                "value_bits": bits,
                "weight_bits": weights,
                "security": security,
                "profile": name,
                "optimise": optimise,
                "base": plan.base,
                "digits": plan.digits,
                "field_bits": plan.field_bits,
                "delta": plan.delta,
                "noise_bound": plan.noise_bound,
                "check_block_bytes": plan.check_block_bytes,
                "fields": fields.hex(),
                "id": plans.plan_id(fields).hex(),
            }
        )
    return {"what": "plans: their numbers, their fields on the wire, their ids", "rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    path = HERE / "v2" / "plans.json"
    content = (json.dumps(plan_vectors(), indent=1) + "\n").encode()
    if parser.parse_args().check:
        return 0 if path.exists() and path.read_bytes() == content else 1
    path.write_bytes(content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
