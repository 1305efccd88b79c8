"""How bytes get from party to party.

Above the parties, which know nothing of it.
"""
