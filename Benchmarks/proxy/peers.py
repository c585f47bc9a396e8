#!/usr/bin/env python3
"""The proxy between peers that are strict about the protocol: h11 on both sides, and websockets on both sides."""
import asyncio
import contextlib
import os
import random
import shutil
import socket
import sys
import tempfile
import threading

import h11
import websockets

from servers import Server, program


def h11_server(path):
    """An upstream that lets h11 judge every byte, and answers with the number of bytes of the body."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    problems = []

    def serve(client):
        connection = h11.Connection(h11.SERVER)
        with client:
            try:
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        connection.receive_data(client.recv(65536))
                    elif isinstance(event, h11.Request):
                        size, sums, is_head = 0, event.target, event.method == b"HEAD"
                    elif isinstance(event, h11.Data):
                        size += len(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        body = b"%d %s" % (size, sums)
                        chunked = b"chunked" in sums
                        fields = [("Transfer-Encoding", "chunked")] if chunked else [("Content-Length", str(len(body)))]
                        out = connection.send(h11.Response(status_code=200, headers=fields))
                        for index in range(0, 0 if is_head else len(body), 3):
                            out += connection.send(h11.Data(data=body[index:index + 3]))
                        client.sendall(out + connection.send(h11.EndOfMessage()))
                        if connection.our_state is h11.MUST_CLOSE:
                            return
                        connection.start_next_cycle()
                    elif isinstance(event, h11.ConnectionClosed):
                        return
            except h11.ProtocolError as error:
                problems.append(f"upstream: {error}")
            except OSError:
                pass

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return problems


def h11_client(port, rounds, seed):
    """Requests of all framings on kept connections, the answers judged by h11."""
    numbers = random.Random(seed)
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        connection = h11.Connection(h11.CLIENT)
        for index in range(rounds):
            size = numbers.choice([0, 1, 10, 1000, 70000])
            chunked = numbers.random() < 0.5
            method = numbers.choice(["GET", "POST", "HEAD", "PUT"]) if size == 0 else numbers.choice(["POST", "PUT"])
            target = f"/{index}{'chunked' if numbers.random() < 0.5 else ''}"
            fields = [("Host", "a")]
            if size:
                fields.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size)))
            out = connection.send(h11.Request(method=method, target=target, headers=fields))
            left = size
            while left:
                piece = min(left, numbers.randint(1, 20000))
                out += connection.send(h11.Data(data=b"x" * piece))
                left -= piece
            client.sendall(out + connection.send(h11.EndOfMessage()))
            body, status = b"", None
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(client.recv(65536))
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
            expected = b"" if method == "HEAD" else b"%d %s" % (size, target.encode())
            assert status == 200 and body == expected, (seed, index, method, status, body, expected)
            connection.start_next_cycle()


async def websocket_echo(folder):
    path = f"{folder}/ws.sock"

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async with websockets.unix_serve(echo, path, max_size=None):
        server = await asyncio.to_thread(ServerWithoutCheck, "martlet", folder, path)
        try:
            async def one(seed):
                numbers = random.Random(seed)
                uri = f"ws://127.0.0.1:{server.port}/"
                async with websockets.connect(uri, max_size=None, compression=None, proxy=None) as connection:
                    for _ in range(20):
                        message = numbers.randbytes(numbers.choice([0, 1, 125, 126, 65536, 1_000_000]))
                        await connection.send(message)
                        assert await connection.recv() == message, seed
                    await (await connection.ping())
                assert connection.close_code == 1000, connection.close_code
            await asyncio.gather(*(one(seed) for seed in range(8)))
        finally:
            await asyncio.to_thread(server.stop)


class ServerWithoutCheck(Server):
    """A WebSocket server answers a plain request with 426: that is alive enough."""

    def wait(self):
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            threading.Event().wait(0.05)


def main():
    if program("martlet") is None:
        sys.exit("set MARTLET_PROXY to a build of martlet-proxy")
    folder = tempfile.mkdtemp(prefix="proxy-peers-")
    os.chmod(folder, 0o755)
    try:
        problems = h11_server(f"{folder}/h11.sock")
        server = Server("martlet", folder, f"{folder}/h11.sock")
        try:
            threads = [threading.Thread(target=h11_client, args=(server.port, 200, seed)) for seed in range(4)]
            failures = []
            threading.excepthook = lambda details: failures.append(details.exc_value)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not problems and not failures, (problems, failures)
            print("h11 on both sides: 4 connections of 200 requests, nothing to object")
        finally:
            server.stop()
        asyncio.run(websocket_echo(folder))
        print("websockets on both sides: 8 connections of 20 messages up to 1 MB, closed with 1000")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
