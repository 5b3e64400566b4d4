"""Limit how many events and pages each client may ask for in a minute."""

import math
import time
from collections import OrderedDict

from starlette.exceptions import HTTPException

from ..limits import LIMITS

CLIENTS = 10_000  # clients that are remembered, 150 bytes each


class EventRate:
    """The rate of each client: so many events at once, and then as many in every minute, evenly spread.

    For each client, only the time is kept at which its allowance will be whole again. If there are too many clients,
    the one that has been quiet for longest is forgotten, and has a whole allowance again. That helps nobody who does
    not have thousands of addresses, each with its own allowance.

    Args:
        limit: the name of the limit, in LIMITS.
        counted: what is counted, in the plural, for the sentence to a client that is refused.
    """

    def __init__(self, limit: str = "events_per_minute", counted: str = "requests") -> None:
        self.limit, self.counted = limit, counted
        self.whole_at: OrderedDict[str, float] = OrderedDict()

    def count(self, client: str, now: float | None = None) -> None:
        """Count an event of a client; one that is refused does not count.

        Args:
            client: the client's address.
            now: the time in seconds, for tests.

        Raises:
            HTTPException: 429 with Retry-After, if the client has sent too many events.
        """
        now = time.monotonic() if now is None else now
        most = getattr(LIMITS, self.limit)
        whole_at = max(now, self.whole_at.get(client, now)) + 60 / most
        late = whole_at - now - 60
        if late > 1e-6:
            self.whole_at.move_to_end(client)
            wait = math.ceil(late)
            raise HTTPException(
                429,
                f"You have sent more than {most:,} {self.counted} a minute; try again in {wait} s.",
                {"Retry-After": str(wait)},
            )
        self.whole_at[client] = whole_at
        self.whole_at.move_to_end(client)
        if len(self.whole_at) > CLIENTS:
            self.whole_at.popitem(last=False)
