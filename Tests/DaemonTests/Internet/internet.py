"""The internet of a test: answers on every address of the network namespace it runs in.

Port 8081: sends 3 MB when it reads "down", and reads 3 MB before it answers when it reads "up".
Port 8080: a line with the address that was called (TCP and UDP). Port 53: names (UDP and TCP).
Prints "ready" once all of it listens, and ends with its standard input.
"""
import socket
import struct
import sys
import threading
import time

NAMES = {
    "public.test": ["198.51.100.7"],
    "api.example.test": ["198.51.100.8"],
    "deep.api.example.test": ["198.51.100.8"],
    "six.test": ["2400:cb01::7"],
    "private.test": ["10.9.9.9"],
    "metadata.test": ["169.254.169.254"],
    "loopback.test": ["127.0.0.1"],
    "mixed.test": ["198.51.100.7", "192.168.7.7"],
    "mapped.test": ["::ffff:10.9.9.9"],
    "local6.test": ["fd00::7"],
    "machine.test": ["203.0.113.1"],
}
asked = {}
resolver = sys.argv[1]


def answer(query: bytes, is_datagram: bool) -> bytes:
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    name = ".".join(labels).lower()
    kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
    question = query[12 : at + 5]
    addresses = NAMES.get(name)
    if name.endswith("rebind.test"):
        # Public when it is checked, private when it is used.
        asked[name, kind] = asked.get((name, kind), 0) + 1
        addresses = ["198.51.100.7" if asked[name, kind] == 1 else "10.9.9.9"]
    if name == "large.test":
        if is_datagram:
            return query[:2] + b"\x83\x80\x00\x01\x00\x00\x00\x00\x00\x00" + question
        addresses = ["198.51.100.7"] * 60
    if addresses is None:
        return query[:2] + b"\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00" + question
    records = b""
    count = 0
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if kind != (28 if family == socket.AF_INET6 else 1):
            continue
        data = socket.inet_pton(family, address)
        records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 30, len(data)) + data
        count += 1
    return query[:2] + b"\x81\x80\x00\x01" + struct.pack(">H", count) + b"\x00\x00\x00\x00" + question + records


def hello(connection, _):
    connection.settimeout(5)
    try:
        connection.sendall(("hello from %s\n" % connection.getsockname()[0]).encode())
        if b"keep" in connection.recv(100):
            time.sleep(5)
    except OSError:
        pass
    connection.close()


def names(connection, _):
    length = struct.unpack(">H", connection.recv(2))[0]
    reply = answer(connection.recv(length), False)
    connection.sendall(struct.pack(">H", len(reply)) + reply)
    connection.close()


def transfer(connection, _):
    connection.settimeout(60)
    size = 3_000_000
    try:
        if connection.recv(4) == b"down":
            connection.sendall(b"x" * size)
        else:
            while size > 0 and (chunk := connection.recv(65536)):
                size -= len(chunk)
            connection.sendall(b"read")
    except OSError:
        pass
    connection.close()


def serve(family, port, handle):
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    listener.listen(512)
    while True:
        threading.Thread(target=handle, args=listener.accept(), daemon=True).start()


def datagrams(address, port, reply):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # At an address, which answers then come from.
    server.bind((address, port))
    while True:
        data, sender = server.recvfrom(4096)
        server.sendto(reply(data), sender)


for target, arguments in [
    (serve, (socket.AF_INET, 8080, hello)),
    (serve, (socket.AF_INET6, 8080, hello)),
    (serve, (socket.AF_INET, 8081, transfer)),
    (serve, (socket.AF_INET, 53, names)),
    (datagrams, ("0.0.0.0", 8080, lambda data: b"hello " + data)),
    (datagrams, (resolver, 53, lambda data: answer(data, True))),
]:
    threading.Thread(target=target, args=arguments, daemon=True).start()
time.sleep(0.3)
print("ready", flush=True)
sys.stdin.read()
