"""`vs.Task`: any PyTorch module, any data, and the training that its owner has.

Learning room. A user writes three functions: one makes the model, one trains it, one evaluates it.
This file makes a `LocalTask` of them for each cloud: the same initial model everywhere, random
numbers that follow from seed, cloud and round, and errors in words when a function does not keep
its side. Imports PyTorch where it is used, since it is an extra. Knows no party and no key.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from veilsum.arguments import check_whole, counted, shown, type_name
from veilsum.data import MAX_ROWS
from veilsum.errors import ParameterError, missing_extra
from veilsum.learning.predictions import Predictions
from veilsum.learning.seeds import torch_seed
from veilsum.learning.task import ROWS, LocalResult, Parameters, Tensors

if TYPE_CHECKING:
    import torch
    from torch import nn

    from veilsum.learning.module_tensors import ModuleTensors


@dataclass(frozen=True)
class Context:
    """What a round's local training may want to know.

    Parameters
    ----------
    round : int
        The round, from 1.
    cloud : int
        The cloud, from 0.
    device : torch.device
        Where the model is.
    seed : int
        Of this cloud and round, below 2^63; PyTorch, NumPy and `random` were seeded with it.
    generator : torch.Generator
        On the CPU, with a stream of its own: for `DataLoader(generator=...)` or `torch.randperm`.
    """

    round: int
    cloud: int
    device: torch.device
    seed: int
    generator: torch.Generator = field(repr=False)


def count_rows(data: Any) -> int:
    """Return how many rows data has, where that can be told.

    A `DataLoader` has those of its sampler, a tuple or mapping of arrays those of each array, one
    array its first extent, anything else its length.

    Parameters
    ----------
    data : object
        A cloud's own.

    Raises
    ------
    veilsum.ParameterError
        When it cannot be told.
    """
    try:
        if hasattr(data, "sampler") and hasattr(data, "dataset"):
            return len(data.sampler)
        if isinstance(data, (tuple, Mapping)):
            columns = tuple(data.values()) if isinstance(data, Mapping) else data
            rows = {len(column) for column in columns}
            if len(rows) != 1:
                raise TypeError
            return rows.pop()
        if isinstance(data, list) and any(hasattr(one, "shape") for one in data):
            raise TypeError  # two columns, or many rows
        return len(data)
    except (TypeError, NotImplementedError):
        raise ParameterError(
            f"how many rows {type_name(data)} has cannot be told; say it: Task(rows=...), a "
            "function of the data"
        ) from None


class Task:
    """What clouds train together: a model, the training that each does, and an evaluation.

    Every floating-point parameter with `requires_grad` and every persistent buffer travels; what
    the factory froze stays (`veilsum.learning.module_tensors` has the rules). Integer and boolean
    buffers travel as floats: written into the module, their weighted mean is rounded to the
    nearest, so a boolean is its weighted majority and a count the rounded mean.

    Parameters
    ----------
    model : callable
        Makes the model: a class, or a function without parameters. PyTorch, NumPy and `random` are
        seeded before each call, so all clouds start from the same one.
    train : callable
        `train(model, data, context)` trains the model in place and returns the mean loss: a number,
        or a tensor of one value. `context` is a `Context`. Loss is only reported, and at most 8.
    evaluate : callable, optional
        `evaluate(model, data)` returns `veilsum.Predictions`, for scores and the report's curves,
        or numbers of its own by name. The model is in evaluation mode and no gradients are kept.
    rows : callable
        `rows(data)` returns how many rows the data has: what a cloud weighs.
    seed : int
        Of initial model, batches and dropout; at least 0, below 2^63.
    device : str or torch.device
        "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:1".

    Raises
    ------
    veilsum.ParameterError
        When an argument is something else.
    veilsum.BackendUnavailableError
        When PyTorch is not installed, or has no such device.

    Examples
    --------
    >>> task = vs.Task(model=Net, train=train, evaluate=evaluate)  # doctest: +SKIP
    >>> clouds = [task.local(rows, cloud=i) for i, rows in enumerate(parts)]  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Callable[[], nn.Module],
        train: Callable[[Any, Any, Context], Any],
        *,
        evaluate: Callable[[Any, Any], Predictions | Mapping[str, Any]] | None = None,
        rows: Callable[[Any], int] = count_rows,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> None:
        torch = _torch()
        if isinstance(model, torch.nn.Module):
            raise ParameterError(
                "model is a module; give the class or function that makes it, so that every cloud "
                f"can: Task(model={type(model).__name__}, ...)"
            )
        for name, function in (("model", model), ("train", train), ("rows", rows)):
            if not callable(function):
                raise ParameterError(f"{name} is {type_name(function)}; it must be a function")
        if evaluate is not None and not callable(evaluate):
            raise ParameterError(
                f"evaluate is {type_name(evaluate)}; it must be a function, or None"
            )
        self._seed = check_whole("seed", seed)
        if self._seed < 0:
            raise ParameterError(f"seed is {shown(self._seed)}; it must be at least 0")
        self._model = model
        self._train = train
        self._evaluate = evaluate
        self._rows = rows
        self._device = _device(device)

    @property
    def device(self) -> torch.device:
        """Where models are trained."""
        return self._device

    @property
    def can_evaluate(self) -> bool:
        """Whether the task has an evaluation."""
        return self._evaluate is not None

    def count_rows(self, data: Any) -> int:
        """Return how many rows data has, as `rows` says.

        Parameters
        ----------
        data : object
            A cloud's, or held-out ones.

        Raises
        ------
        veilsum.ParameterError
            When it cannot be told.
        """
        return check_whole("rows(data)", self._rows(data))

    def local(self, data: Any, *, cloud: int, device: str | torch.device = "") -> LocalModuleTask:
        """Return one cloud's part of the task.

        Parameters
        ----------
        data : object
            The cloud's own; it goes to `train` as it is.
        cloud : int
            The cloud's number, from 0; of its random numbers and messages.
        device : str or torch.device
            Where this cloud trains; where the task says by default.

        Raises
        ------
        veilsum.ParameterError
            When the data has no rows or too many, or the model cannot be averaged.
        """
        number = check_whole("cloud", cloud)
        if number < 0:
            raise ParameterError(f"cloud is {shown(number)}; clouds are counted from 0")
        rows = self.count_rows(data)
        if not 0 < rows <= MAX_ROWS:
            raise ParameterError(
                f"cloud {number + 1} has {counted(rows, 'row')}; must be 1 to {MAX_ROWS}"
            )
        _ = self._specimen  # what is wrong with the model is said before anything begins
        where = self._device if isinstance(device, str) and not device else _device(device)
        return LocalModuleTask(self, data, rows, number, where)

    @property
    def tensors(self) -> Tensors:
        """What the parameters are."""
        return self._specimen.tensors.tensors

    def initial(self) -> Parameters:
        """Return the parameters that every cloud starts from."""
        return {name: array.copy() for name, array in self._specimen.initial.items()}

    def describe(self) -> dict[str, Any]:
        """Return what must be the same at every cloud, as JSON holds it.

        That is each tensor's role, type and shape, and a digest of the whole initial model, frozen
        tensors too: clouds whose base models differ do not begin.
        """
        specimen = self._specimen
        return {"tensors": specimen.tensors.describe(), "initial": specimen.digest}

    def module(self, parameters: Mapping[str, NDArray[np.float32]]) -> nn.Module:
        """Return a new model that holds these parameters, in evaluation mode.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            A global model.
        """
        module = self._make().to(self._device)
        self._specimen.tensors.write(module, parameters)
        return module.eval()

    def evaluator(self, data: Any) -> TaskEvaluator:
        """Return what scores models on data, as `evaluate` does.

        Parameters
        ----------
        data : object
            Held-out rows; they go to `evaluate` as they are.

        Raises
        ------
        veilsum.ParameterError
            When the task has no `evaluate`.
        """
        if self._evaluate is None:
            raise ParameterError("the task has no evaluate; give one: Task(evaluate=...)")
        return TaskEvaluator(self, self._evaluate, data)

    @cached_property
    def _specimen(self) -> _Specimen:
        from veilsum.learning.module_tensors import ModuleTensors, digest

        module = self._make()
        tensors = ModuleTensors(module)
        return _Specimen(tensors, tensors.read(module), digest(module))

    def _make(self) -> nn.Module:
        torch = _torch()
        # On the CPU: its random numbers are the same on every machine. Whatever the factory puts
        # elsewhere itself is none of these.
        with _seeded(torch_seed(self._seed, "initial model"), []), torch.device("cpu"):
            module: Any = self._model()
        if not isinstance(module, torch.nn.Module):
            raise ParameterError(
                f"model() returned {type_name(module)}; it must return a torch.nn.Module"
            )
        made: nn.Module = module
        return made

    def _make_alike(self) -> nn.Module:
        """Make another model, which must be the same one."""
        from veilsum.learning.module_tensors import ModuleTensors, digest

        module, specimen = self._make(), self._specimen
        if ModuleTensors(module).describe() != specimen.tensors.describe():
            raise ParameterError(
                "model() returned tensors of other names, shapes or types than before; it must "
                "return the same model at each call"
            )
        if digest(module) != specimen.digest:
            raise ParameterError(
                "model() returned other initial values than before, although PyTorch, NumPy and "
                "random were seeded alike; all clouds must start from the same model: draw its "
                "values on the CPU, with the global generators"
            )
        return module


@dataclass(frozen=True)
class _Specimen:
    """What is known of a task's model from one that its factory made."""

    tensors: ModuleTensors
    initial: Parameters = field(repr=False)
    digest: str


class LocalModuleTask:
    """One cloud's part of a `Task`; made by `Task.local`.

    Parameters
    ----------
    task : Task
        The task.
    data : object
        The cloud's own.
    rows : int
        How many rows it has.
    cloud : int
        The cloud's number.
    device : torch.device
        Where it trains.
    """

    def __init__(self, task: Task, data: Any, rows: int, cloud: int, device: torch.device) -> None:
        self._task = task
        self._data = data
        self._rows = rows
        self._cloud = cloud
        self._device = device

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Return the number of rows, the only sum that is pooled."""
        return {ROWS: np.array([self._rows], dtype=np.float64)}

    def describe(self) -> dict[str, Any]:
        """Return what must be the same at every cloud, as JSON holds it."""
        return self._task.describe()

    def begin(self, pooled: Mapping[str, NDArray[np.float64]]) -> ModuleLearner:
        """Make the learner, with a model of its own.

        Parameters
        ----------
        pooled : mapping of str to ndarray
            Not needed: weights are the parties' business.

        Raises
        ------
        veilsum.ParameterError
            When the factory returns another model than before.
        """
        del pooled
        module = self._task._make_alike().to(self._device)
        return ModuleLearner(self._task, module, self._data, self._rows, self._cloud, self._device)


class ModuleLearner:
    """Trains a module on one cloud's rows; made by `LocalModuleTask.begin`.

    Parameters
    ----------
    task : Task
        The task.
    module : torch.nn.Module
        The cloud's own.
    data : object
        The cloud's own.
    rows : int
        How many rows it has.
    cloud : int
        The cloud's number.
    device : torch.device
        Where the module is.
    """

    def __init__(
        self,
        task: Task,
        module: nn.Module,
        data: Any,
        rows: int,
        cloud: int,
        device: torch.device,
    ) -> None:
        self._task = task
        self._module = module
        self._data = data
        self._cloud = cloud
        self._device = device
        self.rows = rows

    @property
    def tensors(self) -> Tensors:
        """What the parameters are."""
        return self._task.tensors

    def initial(self) -> Parameters:
        """Return the parameters that every cloud starts from."""
        return self._task.initial()

    def train(self, parameters: Mapping[str, NDArray[np.float32]], number: int) -> LocalResult:
        """Train from the global parameters; the same again for the same parameters and round.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        number : int
            The round, from 1.

        Raises
        ------
        veilsum.ParameterError
            When training returns no loss, diverges, or leaves the model otherwise than in place.
        """
        torch = _torch()
        tensors = self._task._specimen.tensors
        seed = self._task._seed
        tensors.write(self._module, parameters)
        left_out = tensors.left_out_versions(self._module)
        context = Context(
            round=number,
            cloud=self._cloud,
            device=self._device,
            seed=torch_seed(seed, "training", self._cloud, number),
            generator=torch.Generator().manual_seed(
                torch_seed(seed, "batches", self._cloud, number)
            ),
        )
        with _seeded(context.seed, [self._device]):
            self._module.train()
            returned = self._task._train(self._module, self._data, context)
        where = f"at cloud {self._cloud + 1} in round {number}"
        loss = _loss(returned, where)
        tensors.check_kept(self._module, self._device)
        self._check_left_out(left_out)
        update = tensors.difference(self._module, parameters)
        for name, array in update.items():
            if not np.isfinite(array).all():
                raise ParameterError(
                    f"training diverged {where}: the update of {name} has numbers that are not "
                    "finite; lower the learning rate"
                )
        return LocalResult(update, loss, self.rows)

    def _check_left_out(self, before: Mapping[str, int]) -> None:
        """Refuse a change of tensors that do not travel: it would be lost."""
        from veilsum.learning.module_tensors import digest

        specimen = self._task._specimen
        after = specimen.tensors.left_out_versions(self._module)
        # A tensor that was written again may hold the same as before.
        touched = tuple(name for name in before if after.get(name) != before[name])
        if touched and digest(self._module, touched) != digest(self._task._make(), touched):
            raise ParameterError(
                f"train changed {touched[0]}, which does not travel, because model() returned it "
                "with requires_grad=False; let model() return with requires_grad what is trained"
            )

    def sensitivity(
        self, kind: str, parameters: Mapping[str, NDArray[np.float32]], result: LocalResult
    ) -> NDArray[np.float64]:
        """Return how much each coordinate tells of the rows, relative to the largest.

        Parameters
        ----------
        kind : str
            "magnitude": of the update.
        parameters : mapping of str to ndarray
            The global model that `result` was trained from.
        result : LocalResult
            Of the round.

        Raises
        ------
        veilsum.ParameterError
            When it is another kind: the others need losses of single rows.
        """
        del parameters
        if kind != "magnitude":
            raise ParameterError(
                f"sensitivity is {shown(kind)}, which needs the losses of single rows; a Task "
                'offers "magnitude"'
            )
        scores = np.concatenate([np.abs(array).ravel() for array in result.update.values()])
        largest = float(scores.max())
        return scores / largest if largest > 0 else scores


class TaskEvaluator:
    """Scores global models as a task's `evaluate` does; made by `Task.evaluator`.

    Parameters
    ----------
    task : Task
        The task.
    evaluate : callable
        Its evaluation.
    data : object
        Held-out rows.
    """

    def __init__(
        self,
        task: Task,
        evaluate: Callable[[Any, Any], Predictions | Mapping[str, Any]],
        data: Any,
    ) -> None:
        self._task = task
        self._evaluate = evaluate
        self._data = data

    @cached_property
    def _module(self) -> nn.Module:
        return self._task._make_alike().to(self._task._device)

    def _judged(self, parameters: Mapping[str, NDArray[np.float32]]) -> Any:
        torch = _torch()
        self._task._specimen.tensors.write(self._module, parameters)
        self._module.eval()
        seed = torch_seed(self._task._seed, "evaluation")
        with _seeded(seed, [self._task._device]), torch.no_grad():
            return self._evaluate(self._module, self._data)

    def evaluate(self, parameters: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """Score a model.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.

        Raises
        ------
        veilsum.ParameterError
            When the evaluation returns anything but `Predictions` or finite numbers by name.
        """
        found = self._judged(parameters)
        if isinstance(found, Predictions):
            return found.scores()
        if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
            raise ParameterError(
                f"evaluate returned {type_name(found)}; it must return numbers by name, such as "
                '{"accuracy": 0.9}, or veilsum.Predictions'
            )
        return {name: _finite(f"evaluate's {name}", value) for name, value in found.items()}

    def details(self, parameters: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """Return curves and the like where the evaluation returns `Predictions`; else nothing.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            The global model.
        """
        found = self._judged(parameters)
        return found.details() if isinstance(found, Predictions) else {}


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise missing_extra("a Task", "torch", "train") from error
    return torch


def _device(device: str | torch.device) -> torch.device:
    torch = _torch()
    from veilsum.learning.model import choose_device

    if isinstance(device, torch.device):
        device = str(device)
    if not isinstance(device, str):
        raise ParameterError(
            f'device is {type_name(device)}; it must be "auto", "cpu", "cuda" or "cuda:1"'
        )
    return choose_device(device, "device")


@contextmanager
def _seeded(seed: int, devices: list[torch.device]) -> Iterator[None]:
    """Seed PyTorch, NumPy and `random`, and leave them as they were."""
    torch = _torch()
    cuda = [device for device in devices if device.type == "cuda"]
    # The generators that users' transforms draw from.
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for device in cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpys)  # noqa: NPY002
            random.setstate(pythons)


def _loss(returned: Any, where: str) -> float:
    if returned is None:
        raise ParameterError("train returned nothing; it must return the mean training loss")
    loss = _number(returned)
    if loss is None:
        raise ParameterError(
            f"train returned {type_name(returned)}; it must return the mean training loss, one "
            "number"
        )
    if not math.isfinite(loss):
        raise ParameterError(
            f"training diverged {where}: the loss is {loss}; lower the learning rate"
        )
    return loss


def _finite(name: str, value: Any) -> float:
    number = _number(value)
    if number is None:
        raise ParameterError(f"{name} is {type_name(value)}; it must be one number")
    if not math.isfinite(number):
        raise ParameterError(f"{name} is {number}; it must be finite")
    return number


def _number(value: Any) -> float | None:
    """Return one number, also of a tensor or array of one value; None for anything else."""
    value = value.detach() if hasattr(value, "detach") else value
    try:
        return None if isinstance(value, (str, bytes, bytearray)) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
