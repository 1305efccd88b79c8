"""Differential privacy: discrete noise, its shares, and the accounting.

Knows no party and no protocol.
"""
