// Layer: bindings. The numpydoc docstrings of what Python users call directly. Text only.
#pragma once

namespace veilsum::bindings::docs {

inline constexpr const char* kPlan =
    R"doc(A plan of the native engine; veilsum.Plan says the same of all engines.

Parameters
----------
clients : int
    Most uploads in one sum, 2 to 2^20.
value_bits : int
    Bits of a quantised value, 2 to 32.
weight_bits : int
    Bits of the aggregator's integer weights; 0: unit weights only.
security : int
    128, 192 or 256.
optimise : {"speed", "size"}
    The fastest ring that holds the sum, or the one with the smallest uploads.
profile : str
    A ring by name, such as "n4096", or "auto".

Raises
------
ParameterError
    When an argument is out of its range.
HeadroomError
    When no admissible ring holds the sum; the message names the nearest plan that can be held.
)doc";

inline constexpr const char* kPublicKey = R"doc(What clients encrypt to. Not secret.

Attributes
----------
id : bytes
    16 bytes that name the key pair.
)doc";

inline constexpr const char* kSecretKey = R"doc(The authority's secret: opens each round once.

It remembers which rounds it opened. The first save(PATH) makes PATH.opened, the ledger of those
rounds, and without that file the key is not loaded: move the two together. A key that is saved
elsewhere too keeps its ledger, and what stands beside the other file is a link to it. from_bytes()
knows nothing of what the key opened before. It cannot be pickled or copied, its files have mode 0600
and are refused when group or others can access them or when they have several names (hard links),
and its memory is wiped when it is freed.

Attributes
----------
id : bytes
    16 bytes that name the key pair.
public_key : PublicKey
    The other half.
)doc";

inline constexpr const char* kPublicIdentity =
    R"doc(The public half of an identity: the bytes; see veilsum.PublicIdentity.

Attributes
----------
id : bytes
    32 bytes that name it: a hash of all its keys.
fields : bytes
    The form in which rounds list it.
post_quantum : bool
    Whether it signs with ML-DSA-65 as well.
signature_bytes : int
    Length of its signatures.
ed25519, kem, ml_dsa : bytes
    Its keys: 32 bytes, 1216 (ML-KEM-768, then X25519), and 1952, or none.
)doc";

inline constexpr const char* kUpload = R"doc(One client's encrypted update.

Attributes
----------
round_id : bytes
    The round it was made for.
clipped : int
    How many values lay beyond the round's limit. Public.
client : int or None
    The signer's place in the roster, for a signed upload.
signed : bool
    Whether it carries a signature.
nbytes : int
    Length of `to_bytes()`.
digest : bytes
    32 bytes that name the upload: SHA-256 of its sealed key.
)doc";

inline constexpr const char* kPadStore =
    R"doc(Pads of one round, made ahead by background threads; see veilsum.PadStore.

Attributes
----------
round_id : bytes
    The round that the pads are for.
budget_bytes, planned_bytes, ready_bytes : int
    The most bytes of pads at a time, those that will be ready in the end, and those that are.
background_seconds : float
    Processor time that the background threads have spent.
closed : bool
    Whether `close` was called.
)doc";

inline constexpr const char* kAggregate = R"doc(A weighted sum of uploads, still encrypted.

Attributes
----------
round : Round
    The round it sums.
round_id : bytes
    That round's id.
count, total_weight : int
    How many uploads it sums, and the sum of their integer weights.
weights, clients, clipped : list
    Weight, roster place (or None) and clipped values of each upload.
nbytes : int
    Length of `to_bytes()`.
)doc";

inline constexpr const char* kAggregateFile =
    R"doc(An encrypted sum in a file, whose values stay there.

Parameters
----------
path : str or path
    What `sum_files` or `Aggregate.save` wrote.
round : Round
    The round it sums.

Attributes
----------
round : Round
    The round it sums.
round_id : bytes
    That round's id.
count, total_weight : int
    How many uploads it sums, and the sum of their integer weights.
weights, clients, clipped : list
    Weight, roster place (or None) and clipped values of each upload.
nbytes : int
    Size of the file.
path : str
    Its name.

Raises
------
WireFormatError
    When what stands before the encrypted values is malformed. The values, and the file's checksum,
    are checked by `verify`, and by `decrypt_file` while it reads them.
RoundError
    When it is of another round.
)doc";

inline constexpr const char* kIncoming = R"doc(An upload on its way: made by `Aggregator.receive`.

Pieces may come in any order, from any thread. A piece may come again, but only with the same bytes.
An upload that is dropped before `finish` leaves no trace in the sum.

Attributes
----------
total_bytes : int
    The upload's size.
received_bytes : int
    How many different bytes have come so far.
)doc";

inline constexpr const char* kReceive = R"doc(Prepare for an upload that arrives in pieces.

Parameters
----------
total_bytes : int
    The upload's size, which must be that of an upload of this round.
folder : str or path, optional
    Where pieces wait, in a file without a name, when the upload is larger than 1 MiB. By default
    the system's folder for temporary files.

Returns
-------
Incoming
    To `write` pieces to and to `finish`.

Raises
------
WireFormatError
    When no upload of this round has that size.
RoundError
    When as many uploads are arriving as the plan has clients.
)doc";

inline constexpr const char* kOpeningRequest =
    R"doc(What the authority needs of an aggregate: everything but the encrypted values.

Attributes
----------
round : Round
    The round of the sum.
round_id : bytes
    That round's id.
count, total_weight : int
    How many uploads the sum holds, and the sum of their integer weights.
weights, clients, clipped : list
    Weight, roster place (or None) and clipped values of each upload.
)doc";

inline constexpr const char* kSumKey = R"doc(Decrypts one aggregate and nothing else.

A secret of whoever may read the sum: it cannot be pickled, and its files have mode 0600. The key of
a sum with weights other than 1 is written out only when it was opened with export=True.

Attributes
----------
round : Round
    The round of the sum.
round_id : bytes
    That round's id.
count, total_weight : int
    How many uploads the sum holds, and the sum of their integer weights.
exportable : bool
    Whether `to_bytes` and `save` are allowed.
)doc";

}  // namespace veilsum::bindings::docs
