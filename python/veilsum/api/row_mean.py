"""The mean of updates weighted by rows: what most federations want, without multiplying by hand.

Layer: Python API, over the steps of a sum. A client with n of at most N rows encrypts its update
times n / N, and n itself beside it. The sums of both, opened together, give the mean; nobody's
number of rows is ever in the clear, clients that drop out are no trouble, and a limit that holds
the updates holds the weighted ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from veilsum import _core
from veilsum.api.decrypting import decrypt_sum
from veilsum.api.encrypting import encrypt_update
from veilsum.api.plans import Plan
from veilsum.api.rounds import Round, new_layout
from veilsum.api.weights import MOST_ROWS, ROWS, most_rows_of
from veilsum.arguments import check_type, check_whole
from veilsum.engines.base import Progress
from veilsum.errors import ParameterError, RoundError
from veilsum.keys.committee import Committee
from veilsum.keys.group import Group
from veilsum.keys.identity import PublicIdentity, Signer
from veilsum.keys.roster import Roster
from veilsum.layout.tensors import Layout, TensorSpec, dtype_name

__all__ = ["RowMean", "is_row_mean"]

_UPDATE: Final = "update"


class RowMean:
    """The mean of updates, each weighted by the rows it was trained on.

    Whoever organises the round makes one with `new` and hands out its `round`; everybody else makes
    one from that round.

    Attributes
    ----------
    round : Round
        The round; uploads of it are summed, and the sum is opened, as those of any other.
    most_rows : int
        The most rows that a client may have.
    layout : Layout
        Names, shapes and dtypes of an update.
    """

    def __init__(self, rnd: Round) -> None:
        """Take a round that `new` made.

        Parameters
        ----------
        rnd : Round
            Of any engine.

        Raises
        ------
        ParameterError
            When it is another kind of round.
        """
        check_type("RowMean(rnd)", "rnd", rnd, Round)
        layout = rnd.layout
        rows = most_rows_of(layout)
        if rows is None:
            raise ParameterError(
                "the round does not weigh by rows; make one with RowMean.new(plan, public, "
                "like=..., most_rows=...)"
            )
        self.round = rnd
        self.most_rows = rows
        self.layout = _inner(layout)
        self._digits = layout.tensors[-1].size

    @classmethod
    def new(
        cls,
        plan: Plan,
        authority: _core.PublicKey | Committee,
        *,
        size: int | None = None,
        like: Any = None,
        limit: Any = 1.0,
        most_rows: int,
        min_clients: int = 2,
        roster: Roster | Iterable[PublicIdentity | Signer] | None = None,
        group: tuple[bytes, bytes] | None = None,
        reader: PublicIdentity | Signer | None = None,
    ) -> RowMean:
        """Describe a new mean.

        Parameters
        ----------
        plan : Plan
            As for `Round`.
        authority : PublicKey or Committee
            As for `Round`.
        size : int, optional
            How many values an update has. Give this or `like`.
        like : array, tensor, mapping of str to array or tensor, or nested lists and mappings
            An example update. Give this or `size`.
        limit : float, mapping of str to float, or nested like the update
            As for `Round`: it is to hold the updates themselves, before any weight.
        most_rows : int
            The most rows that a client may have; a client with fewer keeps that part of the
            resolution that its rows are of this number. It is public.
        min_clients : int
            As for `Round`.
        roster : Roster or iterable of PublicIdentity or Identity, optional
            As for `Round`.
        group, reader
            As for `Round`.

        Returns
        -------
        RowMean
            With a new round.

        Raises
        ------
        ParameterError
            When an argument is out of range.
        """
        whole = check_whole("most_rows", most_rows)
        if not 1 <= whole < 2**53:
            raise ParameterError("most_rows is out of range; it must be from 1 to 2^53 - 1")
        inner = new_layout(size, like)
        limits = inner.segments(limit)
        levels = 2 ** (plan.value_bits - 1) - 1
        if levels < 2:
            raise ParameterError(
                "a plan with value_bits = 2 has no room for numbers of rows; use 3 or more"
            )
        metadata = tuple(sorted([*inner.metadata, (MOST_ROWS, str(whole))]))
        rows = TensorSpec(ROWS, "float64", (_digits(whole, levels),))
        tensors = (*(_outer(spec) for spec in inner.tensors), rows)
        if inner.named:
            paths = inner.paths or tuple((spec.name,) for spec in inner.tensors)
            layout = Layout(
                "tree",
                inner.library,
                tensors,
                paths=(*((_UPDATE, *path) for path in paths), (ROWS,)),
                metadata=metadata,
            )
        else:
            layout = Layout("mapping", inner.library, tensors, metadata=metadata)
        ranges = iter(limits)
        named = {_outer(s).name: next(ranges)[1] if s.size else 1.0 for s in inner.tensors}
        named[ROWS] = float(levels)  # then a step is 1, and whole numbers are summed exactly
        rnd = Round(
            plan,
            authority,
            like=layout,
            limit=named,
            min_clients=min_clients,
            roster=roster,
            group=group,
            reader=reader,
        )
        return cls(rnd)

    def encrypt(
        self,
        update: Any,
        rows: int,
        *,
        rounding: str = "nearest",
        signer: Signer | None = None,
        group: Group | None = None,
        on_clip: str = "count",
        threads: int | None = None,
        progress: Progress | None = None,
        pads: Any = None,
    ) -> Any:
        """Encrypt a client's update and the number of its rows.

        Parameters
        ----------
        update : array, tensor, mapping of str to array or tensor, or nested lists and mappings
            Laid out as `layout` says, and not multiplied by anything.
        rows : int
            How many rows it was trained on, from 1 to `most_rows`.
        rounding, signer, group, on_clip, threads, progress, pads
            As in `veilsum.encrypt`.

        Returns
        -------
        Upload
            Of `round`.

        Raises
        ------
        ParameterError
            When the update or the rows do not fit.
        RoundError
            When the round has a roster and there is no signer.
        KeyMismatchError
            When the signer is not in the round's roster.
        """
        count = check_whole("rows", rows)
        if not 1 <= count <= self.most_rows:
            raise ParameterError(
                f"rows is out of range; it must be from 1 to the round's most_rows, "
                f"{self.most_rows}: a client without rows takes no part"
            )
        weight = count / self.most_rows
        base = 2 ** (self.round.plan.value_bits - 1) - 1
        digits = np.array([count // base**power % base for power in range(self._digits)], float)
        leaves = self.layout.leaves(update)
        return encrypt_update(
            self.round,
            # Everything is multiplied by the weight; the digits are to come out of that whole.
            {**self._names(leaves), ROWS: digits / weight},
            weight=weight,
            rounding=rounding,
            signer=signer,
            group=group,
            on_clip=on_clip,
            threads=threads,
            progress=progress,
            pads=pads,
        )

    def decrypt(
        self,
        key: Any,
        total: Any,
        *,
        group: Group | None = None,
        dtype: Any = None,
        output: str | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Decrypt the mean of the updates, weighted by rows.

        Parameters
        ----------
        key : SumKey
            What `open_sum` gave for this aggregate.
        total : Aggregate
            The encrypted sum of the round's uploads, by whatever weights.
        group, dtype, output, threads, progress
            As in `veilsum.decrypt`.

        Returns
        -------
        ndarray, torch.Tensor, or dict or list of them
            As `layout` says.

        Raises
        ------
        KeyMismatchError
            When `key` was made for another aggregate.
        RoundError
            When the uploads hold no rows.
        """
        wanted = dtype_name(dtype)
        sums = decrypt_sum(
            key,
            total,
            group=group,
            average=False,
            dtype="float64",
            output="numpy",
            threads=threads,
            progress=progress,
        )
        base = 2 ** (self.round.plan.value_bits - 1) - 1
        # The native engine's sums are whole already; CKKS's are within a fraction of it.
        rows = sum(round(float(digit)) * base**power for power, digit in enumerate(sums[ROWS]))
        if not rows > 0:
            raise RoundError("the uploads of this sum hold no rows; an upload was made up")
        parts = [sums[_UPDATE]]
        if self.layout.named:
            parts = list(self.layout.by_name(sums[_UPDATE]).values())
        flat = np.concatenate([np.asarray(part).reshape(-1) for part in parts])
        flat *= self.most_rows / rows
        return self.layout.assemble(flat, dtype=wanted, library=output)

    def _names(self, leaves: list[Any]) -> dict[str, Any]:
        names = [_outer(spec).name for spec in self.layout.tensors]
        return dict(zip(names, leaves, strict=True))

    def __repr__(self) -> str:
        return f"<veilsum.RowMean of at most {self.most_rows} rows a client: {self.round!r}>"


def is_row_mean(layout: Layout) -> bool:
    """Say whether a layout is that of a round that weighs by rows.

    Parameters
    ----------
    layout : Layout
        Of a round.

    Returns
    -------
    bool
        Whether `RowMean` takes the round.
    """
    return most_rows_of(layout) is not None


def _inner(layout: Layout) -> Layout:
    """Return the layout of an update within the layout of the round."""
    metadata = tuple(pair for pair in layout.metadata if pair[0] != MOST_ROWS)
    tensors = tuple(
        TensorSpec(spec.name.partition("/")[2], spec.dtype, spec.shape)
        for spec in layout.tensors[:-1]
    )
    if layout.kind == "mapping":  # the update is one array
        return Layout("array", layout.library, tensors)
    paths = tuple(path[1:] for path in layout.paths[:-1])
    if all(len(path) == 1 and isinstance(path[0], str) for path in paths):
        return Layout("mapping", layout.library, tensors, metadata=metadata)
    return Layout("tree", layout.library, tensors, paths=paths, metadata=metadata)


def _outer(spec: TensorSpec) -> TensorSpec:
    """Name a tensor of the update as the round does."""
    name = f"{_UPDATE}/{spec.name}" if spec.name else _UPDATE
    return TensorSpec(name, spec.dtype, spec.shape)


def _digits(most_rows: int, levels: int) -> int:
    """Return how many digits of base `levels` hold a number of rows."""
    count, reach = 1, levels
    while reach <= most_rows:
        count, reach = count + 1, reach * levels
    return count
