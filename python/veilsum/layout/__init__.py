"""Vectors and what they are made of: tensors with names, structures of them, and their files.

Layer: Python, ground. No cryptography, and no round: `tensors` turns what a user has into one
vector and back, `structures` walks what is nested, `files` reads and writes .npy and .safetensors.
"""
