# A WebSocket server that says everything again. Prints its port.
import asyncio
import websockets


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with websockets.serve(
        echo, "127.0.0.1", 0, max_size=None, subprotocols=["echo"]
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


asyncio.run(main())
