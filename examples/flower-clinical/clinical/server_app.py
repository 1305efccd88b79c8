"""The server: FedAvg in its encrypted form."""

import json
from pathlib import Path

from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from clinical import task
from veilsum.flower import VeilsumStrategy

app = ServerApp()


@app.main()
def main(grid, context):
    config = context.run_config
    home = Path(str(config["home"])) / "server"
    strategy = VeilsumStrategy(
        FedAvg(min_available_nodes=2),
        clouds=int(config["clouds"]),
        home=home,
        result=str(config["result"]),
        min_clients=int(config["min-clients"]),
    )
    start = task.network().state_dict()
    arrays = ArrayRecord({name: Array(one.numpy()) for name, one in start.items()})
    result = strategy.start(grid, arrays, num_rounds=int(config["rounds"]))
    scores = {str(number): dict(one) for number, one in result.evaluate_metrics_clientapp.items()}
    (home / "scores.json").write_text(json.dumps(scores))
