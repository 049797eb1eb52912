"""Two queues of requests for a server's threads: what is urgent goes before all the rest.

Given to waitress by ``server``, which calls it under its dispatcher's lock.
"""

import collections

from waitress import channel


class Lanes:
    """A queue of connections, each with a request to be answered, as waitress uses a deque.

    ``urgent``: how the paths of requests begin that do not wait for others.
    """

    def __init__(self, urgent: tuple[str, ...]) -> None:
        self._prefixes = urgent
        self._urgent: collections.deque[channel.HTTPChannel] = collections.deque()
        self._others: collections.deque[channel.HTTPChannel] = collections.deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def append(self, connection: channel.HTTPChannel) -> None:
        path = getattr(connection.requests[0], "path", "")  # what is no HTTP has none
        urgent = path.startswith(self._prefixes)
        (self._urgent if urgent else self._others).append(connection)

    def popleft(self) -> channel.HTTPChannel:
        return (self._urgent or self._others).popleft()
