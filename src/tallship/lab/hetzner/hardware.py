"""What the API needs of the machines behind the servers."""

from __future__ import annotations

from typing import Any, Protocol


class Hardware(Protocol):
    """Told of every change of power. The calls return soon; what a machine does then is its own matter."""

    async def powered_on(self, server: dict[str, Any], user_data: str, image: dict[str, Any]) -> None:
        """The server (the API's document) boots.

        `image` is what it boots from: the API's image document with `content`, what is written on its disk;
        or `{"rescue": True, "ssh_keys": [public keys], "root_password": …}` for the rescue system.
        """

    async def powered_off(self, server_id: int) -> None:
        """The server has no power any more; its disk stays."""

    async def deleted(self, server_id: int) -> None:
        """The server and its disk are gone."""
