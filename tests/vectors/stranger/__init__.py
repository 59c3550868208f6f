"""A second implementation, from the specification alone: hashlib, hmac, the primitives of `cryptography`, and no line
of ours. It is slow, holds what it is handed, and judges the vectors as somebody would who has never seen the first.
"""
