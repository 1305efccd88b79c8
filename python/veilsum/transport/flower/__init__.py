"""The transport over Flower: requests and replies as its messages, large ones in parts.

`slips` says what travels; `post` is a site's side and `transport` the server's, both without
Flower; `carrier` is Flower's messages, the one file here that imports it.
"""
