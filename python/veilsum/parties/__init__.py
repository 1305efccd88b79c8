"""Who takes part: clients, the aggregator, members of a committee, a key holder.

Above the protocol. A party has no I/O: bytes come in, bytes go out.
"""
