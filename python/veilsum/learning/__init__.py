"""Models and their training, as one cloud does it; no party and no key is known here."""
