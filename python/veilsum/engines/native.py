"""The native engine as a cipher: Veilsum's own scheme, which the core implements whole.

Layer: engines, over base and keys. Its plans are the core's own. Keys seal and open here, by
`cryptography`; everything else is one call of the core.
"""

from __future__ import annotations

from typing import Any, Final

import numpy.typing as npt

from veilsum import _core
from veilsum.arguments import shown
from veilsum.engines.base import CipherPlan, EncryptOptions, Opener, PlanRequest, Progress
from veilsum.errors import ParameterError
from veilsum.keys.sealing import generate_key_pair, open_sealed, seal

__all__ = ["CIPHER", "NativeCipher"]


class NativeCipher:
    """The native engine; see `veilsum.engines.base.Cipher`."""

    name: Final = "native"
    number: Final = 1

    def plan(self, request: PlanRequest) -> CipherPlan:
        """Check a request and choose parameters."""
        if request.parties != 1:
            raise ParameterError(
                f"parties = {shown(request.parties)}: the native engine's keys have one holder; "
                f"keys that several parties share are the engine 'openfhe''s"
            )
        return _core.Plan(
            request.clients,
            request.value_bits,
            weight_bits=request.weight_bits,
            security=request.security,
            optimise=request.optimise,
            profile=request.profile,
        )

    def read_plan(self, fields: bytes) -> CipherPlan:
        """Read a plan's 16 bytes."""
        return _core.Plan.from_fields(fields)

    def keygen(self, plan: CipherPlan) -> tuple[_core.SecretKey, _core.PublicKey]:
        """Make a key pair, which serves any plan."""
        del plan
        return generate_key_pair()

    def check_public_key(self, plan: CipherPlan, public: _core.PublicKey) -> None:
        """Accept any: the core has checked what there is to be checked."""

    def encrypt(
        self,
        rnd: _core.Round,
        plan: CipherPlan,
        pieces: list[npt.NDArray[Any]],
        dtypes: list[str],
        options: EncryptOptions,
        pads: _core.PadStore | None,
    ) -> _core.Upload:
        """Encrypt, with pads that were made ahead where there are any."""
        del plan
        return _core.encrypt(
            rnd,
            pieces,
            dtypes,
            weight=options.weight,
            rounding=options.rounding,
            on_clip=options.on_clip,
            threads=options.threads,
            progress=options.progress,
            pads=pads,
            client=options.client,
            tag_key=options.tag_key,
            seal=seal,
        )

    def opener(self, rnd: _core.Round, plan: CipherPlan) -> Opener:
        """Return what opens sealed keys."""
        del rnd, plan
        return open_sealed

    def decrypt(
        self,
        key: _core.SumKey,
        total: _core.Aggregate,
        plan: CipherPlan,
        *,
        average: bool,
        dtype: str,
        threads: int,
        progress: Progress | None,
        out: npt.NDArray[Any] | None,
        tag_key: bytes | None,
    ) -> npt.NDArray[Any]:
        """Decrypt exactly."""
        del plan
        return _core.decrypt(
            key,
            total,
            average=average,
            dtype=dtype,
            threads=threads,
            progress=progress,
            out=out,
            tag_key=tag_key,
        )


CIPHER: Final = NativeCipher()
