# Says things to a WebSocket server that says everything again: text and bytes, small and large.
import asyncio
import os
import ssl
import sys
import websockets

url, port, ca = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def main():
    tls = {}
    if url.startswith("wss:"):
        tls["ssl"] = ssl.create_default_context(cafile=ca)
        tls["server_hostname"] = "a.example"
    async with websockets.connect(
        url,
        host="127.0.0.1",
        port=port,
        max_size=None,
        subprotocols=["echo"],
        **tls,
    ) as socket:
        assert socket.subprotocol == "echo", socket.subprotocol
        said = ["a", "", "\u00e4\u00f6\u20ac", b"\x00\xff", os.urandom(1024 * 1024), "x" * (1024 * 1024)]
        for message in said:
            await socket.send(message)
            assert await socket.recv() == message
        for number in range(200):
            await socket.send(str(number))
        for number in range(200):
            assert await socket.recv() == str(number)
        await (await socket.ping())
    print("said and heard", socket.close_code)


asyncio.run(asyncio.wait_for(main(), 30))
