"""What the clouds of a training sum, and how they agree on it before they do.

Above the crypto API, below the parties. Knows no party, no transport and no network.
"""
