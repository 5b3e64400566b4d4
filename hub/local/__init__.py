"""A local Hub in memory, for tests and rehearsals with the real client and the real `hf` command.

It implements what the client and the scripts of this project use: repositories with commits, tags and branches, private
and gated repositories, large files by LFS through a second port (the "CDN"), validation of model cards, and Spaces,
which may need a paid account and can be run. Faults can be injected.

Tokens have roles or fine-grained scopes, users belong to organisations, and repositories may trust a CI job. Xet
(clients set HF_HUB_DISABLE_XET=1), pull requests, search and .gitignore are not supported.
"""

from hub.local.faults import Fault, Request
from hub.local.hub import Hub

__all__ = ["Fault", "Hub", "Request"]
