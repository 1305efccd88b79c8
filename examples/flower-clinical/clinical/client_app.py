"""A hospital's app: Flower's own functions; `VeilsumClientApp` is all that is new."""

from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from clinical import data
from veilsum.flower import VeilsumClientApp


def rows(context):
    parts, held_out = data.split(int(context.node_config["num-partitions"]))
    return parts[int(context.node_config["partition-id"])], held_out


app = VeilsumClientApp(
    rows=lambda context: len(rows(context)[0][1]), simulation="runs/flower-clinical/sites"
)


@app.train()
def train(message, context):
    from clinical import task  # PyTorch takes seconds to load: only the messages that need it

    (inputs, labels), _ = rows(context)
    start = {name: one.numpy() for name, one in message.content["arrays"].items()}
    seed = 1000 * int(message.content["config"]["server-round"]) + int(
        context.node_config["partition-id"]
    )
    trained, loss = task.train(start, inputs, labels, seed)
    arrays = ArrayRecord({name: Array(one) for name, one in trained.items()})
    metrics = MetricRecord({"num-examples": len(labels), "train_loss": loss})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message, context):
    from clinical import task

    _, (inputs, labels) = rows(context)
    arrays = {name: one.numpy() for name, one in message.content["arrays"].items()}
    metrics = MetricRecord({"num-examples": len(labels), "auc": task.auc(arrays, inputs, labels)})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
