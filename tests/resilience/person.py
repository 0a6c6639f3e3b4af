"""A browser that is a process of its own, to be frozen and killed: prints a line when it is connected.

python -m tests.resilience.person URL ORIGIN COOKIE CA_FILE
"""

from __future__ import annotations

import asyncio
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.typing import Origin


async def main() -> None:
    url, origin, cookie, ca_file = sys.argv[1:]
    trust = ssl.create_default_context(cafile=ca_file)
    headers = {"Cookie": cookie}
    async with connect(url, ssl=trust, origin=Origin(origin), additional_headers=headers) as socket:
        await socket.recv()
        print("connected", flush=True)
        async for _ in socket:
            pass


if __name__ == "__main__":
    asyncio.run(main())
