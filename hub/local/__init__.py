"""A Hub on this machine, in memory, for rehearsals: the real client and the real `hf` command work against it.

It answers as the Hub does wherever the client or a script of this project looks: repositories with commits, tags and
branches, private and gated ones, roles of tokens, large files by LFS through a second port (the "CDN"), model cards
that are checked, Spaces that need a paid account and, if asked, really run. It can be told to fail in many ways.

Tokens have roles or fine-grained scopes, users belong to organisations, and repositories may trust a CI job. It knows
no Xet (clients set HF_HUB_DISABLE_XET=1), pull requests, search, or .gitignore.
"""

from hub.local.faults import Fault, Request
from hub.local.hub import Hub

__all__ = ["Fault", "Hub", "Request"]
