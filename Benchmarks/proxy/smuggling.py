#!/usr/bin/env python3
"""Sends requests that two readers could understand differently through the proxy, nginx and haproxy.

The upstream records every byte. What was forwarded is then read by several readers, each lenient in its own way (length
before chunks, chunks before length, bare LF, folded lines, sloppy chunk sizes). If they do not all find the same
requests, an upstream could be made to see one that the proxy did not: with this proxy that is a failure.
"""
import contextlib
import os
import re
import shutil
import socket
import sys
import tempfile
import threading

from servers import Server, program

NEXT = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
END = b"0\r\n\r\n"


def post(lines, body=b"", target=b"/", version=b"HTTP/1.1", host=b"Host: a\r\n"):
    return b"POST " + target + b" " + version + b"\r\n" + host + lines + b"\r\n" + body


def corpus():
    """Names and bytes. Each is a request that could hide another."""
    te = b"Transfer-Encoding: chunked\r\n"
    size = b"Content-Length: %d\r\n"
    inside = END + NEXT
    cases = {
        "length and chunks": post(size % len(inside) + te, inside),
        "chunks and length": post(te + size % len(inside), inside),
        "two lengths, first short": post(size % 0 + size % len(NEXT), NEXT),
        "two lengths, same": post(size % 3 + size % 3, b"abc"),
        "list of lengths": post(b"Content-Length: 0, %d\r\n" % len(NEXT), NEXT),
        "http/1.0 with chunks": post(te, inside, version=b"HTTP/1.0"),
        "doubled host": post(size % 0, host=b"Host: a\r\nHost: b\r\n"),
        "host differs from target": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "no host": b"GET / HTTP/1.1\r\n\r\n",
        "space before colon": post(b"Content-Length : %d\r\n" % len(NEXT), NEXT),
        "space before colon of coding": post(b"Transfer-Encoding : chunked\r\n" + size % len(inside), inside),
        "folded coding": post(b"Transfer-Encoding:\r\n chunked\r\n" + size % len(inside), inside),
        "folded length": post(b"X: y\r\n Content-Length: %d\r\n" % len(NEXT), NEXT),
        "bare LF in head": post(b"X: y\nContent-Length: %d\r\n" % len(NEXT), NEXT),
        "bare LF ends head": b"POST / HTTP/1.1\nHost: a\nContent-Length: %d\n\n" % len(NEXT) + NEXT,
        "bare CR in value": post(b"X: y\rContent-Length: %d\r\n" % len(NEXT), NEXT),
        "NUL in value": post(b"X: a\x00b\r\n" + size % 0),
        "length nominated by Connection": post(b"Connection: content-length\r\n" + size % len(NEXT), NEXT),
        "coding nominated by Connection": post(b"Connection: transfer-encoding\r\n" + te, inside),
        "upgrade to h2c": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                          b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "upgrade with a body": post(b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + size % len(NEXT), NEXT),
        "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + NEXT,
        "get with a body": b"GET / HTTP/1.1\r\nHost: a\r\n" + size % len(NEXT) + b"\r\n" + NEXT,
        "head with a body": b"HEAD / HTTP/1.1\r\nHost: a\r\n" + size % len(NEXT) + b"\r\n" + NEXT,
        "request line split by LF": b"GET / HTTP/1.1\nX: HTTP/1.1\r\nHost: a\r\n\r\n",
        "tab in request line": b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "space in target": b"GET /a HTTP/1.1\r\nX: b HTTP/1.1\r\nHost: a\r\n\r\n".replace(b"/a HTTP", b"/a b HTTP", 1),
        "version 1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "version 0.9": b"GET /\r\n" + NEXT,
        "field without colon": post(b"Content-Length\r\n"),
        "empty field name": post(b": x\r\n" + size % 0),
        "expect with hidden request": post(b"Expect: 100-continue\r\n" + size % len(NEXT), NEXT),
        "unknown expectation": post(b"Expect: y 100-continue\r\n" + size % len(NEXT), NEXT),
        "length in a trailer": post(te, b"0\r\nContent-Length: %d\r\n\r\n" % len(NEXT)),
        "coding in a trailer": post(te, b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    }
    for value in [b"xchunked", b"chunked, identity", b"identity, chunked", b"gzip, chunked", b"chunked;q=1", b" chunked",
                  b"chunked ", b"\tchunked", b"\x0bchunked", b"\x00chunked", b"Chunked", b'"chunked"', b"chunked,",
                  b",chunked", b"chunked\r\nTransfer-Encoding: x", b"x\r\nTransfer-Encoding: chunked", b"chu\xeeked",
                  b"identity", b""]:
        cases[f"coding {value!r}"] = post(b"Transfer-Encoding:" + (b" " + value) + b"\r\n" + size % len(inside), inside)
        cases[f"coding alone {value!r}"] = post(b"Transfer-Encoding: " + value + b"\r\n", inside)
    for value in [b"+%d", b"-%d", b"0x%x", b"%d ", b" %d", b"0%d", b"%d,", b"%d;", b"%d.0", b"1e2", b"", b"%da", b"\x0b%d",
                  b"18446744073709551616", b"9223372036854775808", b"%d\t", b"'%d'", b"0_0%d"]:
        number = len(NEXT)
        text = value % number if b"%" in value else value
        cases[f"length {value!r}"] = post(b"Content-Length: " + text + b"\r\n", NEXT)
    for chunk in [b"0x0\r\n\r\n", b"+0\r\n\r\n", b"-0\r\n\r\n", b" 0\r\n\r\n", b"0 \r\n\r\n", b"00\r\n\r\n", b"0;\n\r\n\r\n",
                  b"0;a\rb\r\n\r\n", b"0\n\n", b"0\r\n\n", b"0\n\r\n", b"0\r\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n",
                  b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n", b"5;a\n\r\nhello\r\n0\r\n\r\n",
                  b'5;a="\r\nhello\r\n0\r\n\r\n', b"100000000000000000\r\n\r\n", b"fffffffffffffffff\r\n\r\n",
                  b"5\r\nhello\r\n0\r\n X: y\r\n\r\n", b"\r\n0\r\n\r\n", b"5\x00\r\nhello\r\n0\r\n\r\n", b"g\r\n\r\n", b"5_0\r\n",
                  b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n"]:
        cases[f"chunk {chunk[:24]!r}"] = post(te, chunk + NEXT)
    for name in [b"Content_Length", b"Content-Length\x00", b"\x00Content-Length", b"Content-Length\x0b", b" Content-Length",
                 b"Content-Length\t", b"Transfer_Encoding", b"\xefTransfer-Encoding"]:
        value = b"chunked" if b"Tr" in name else b"%d" % len(NEXT)
        cases[f"name {name!r}"] = post(b"X: y\r\n" + name + b": " + value + b"\r\n", NEXT)
    return cases


class Recorder:
    """Keeps what it receives and answers every request head that it sees, once."""

    def __init__(self, path):
        self.received = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o777)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        record = bytearray()
        self.received.append(record)
        answered = 0
        connection.settimeout(5)
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(65536):
                record += data
                requests = read_requests(bytes(record), True, False, False, False)
                while answered < sum(not request.endswith((b"incomplete", b"incomplete)")) for request in requests):
                    # Kept alive, so that the next request of the client follows on the same connection.
                    is_head = requests[answered].startswith(b"HEAD")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"" if is_head else b"ok"))
                    answered += 1


def read_requests(data, chunks_first, bare_lf, folds, sloppy):
    """The request lines that one lenient reader finds."""
    found = []
    while data.strip(b"\r\n"):
        data = data.lstrip(b"\r\n")
        match = re.search(rb"\r?\n\r?\n" if bare_lf else rb"\r\n\r\n", data)
        if not match:
            found.append(b"incomplete")
            break
        head, data = data[:match.start()], data[match.end():]
        if folds:
            head = re.sub(rb"\r?\n[ \t]+", b" ", head)
        lines = re.split(rb"\r?\n" if bare_lf else rb"\r\n", head)
        found.append(lines[0])
        length, chunked = 0, False
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            name, value = name.strip(b" \t\x0b\x00").lower().replace(b"_", b"-" if sloppy else b"_"), value.strip(b" \t\x0b\x00")
            if name == b"content-length" and (digits := re.match(rb"\+?(\d+)", value)):
                length = int(digits[1])
            if name == b"transfer-encoding":
                chunked = chunked or b"chunked" in value.lower()
        if chunked and (chunks_first or length == 0):
            while True:
                size = re.match(rb"[ \t]*\+?(?:0x)?([0-9a-fA-F]+)[^\n]*?\r?\n" if sloppy else rb"([0-9a-fA-F]+)(?:;[^\r\n]*)?\r\n",
                                data)
                if not size:
                    break
                data = data[size.end():]
                if int(size[1], 16) == 0:
                    end = re.match(rb"(?:[^\r\n]+\r?\n)*\r?\n", data)
                    data = data[end.end():] if end else data
                    break
                data = data[int(size[1], 16):]
                data = data[2:] if data.startswith(b"\r\n") else data.lstrip(b"\r\n")
        else:
            if length > len(data):
                found[-1] += b" (body incomplete)"
            data = data[length:]
    return found


READERS = [dict(chunks_first=a, bare_lf=b, folds=c, sloppy=d)
           for a in (False, True) for b in (False, True) for c in (False, True) for d in (False, True)]


def send(port, payload):
    """The first status line of the answer, or what happened instead."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.settimeout(0.3)
        answer = b""
        with contextlib.suppress(OSError):
            client.sendall(payload)
            while data := client.recv(65536):
                answer += data
    statuses = re.findall(rb"HTTP/1\.[01] (\d{3})", answer)
    return " ".join(s.decode() for s in statuses) or ("closed" if not answer else "garbage")


def main():
    names = [name for name in ["martlet", "nginx", "haproxy"] if program(name)]
    if "martlet" not in names:
        sys.exit("set MARTLET_PROXY to the release build of martlet-proxy")
    folder = tempfile.mkdtemp(prefix="proxy-smuggling-")
    os.chmod(folder, 0o755)
    failures = 0
    differences = dict.fromkeys(names, 0)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        recorders, servers = {}, {}
        for name in names:
            recorders[name] = Recorder(f"{folder}/{name}-up.sock")
            servers[name] = Server(name, folder, f"{folder}/{name}-up.sock")
            stack.callback(servers[name].stop)
        cases = corpus()
        print(f"{'case':44}" + "".join(f"{name:24}" for name in names) + "(statuses, requests forwarded)")
        for case, payload in cases.items():
            cells = []
            for name in names:
                # Connections are kept from case to case: what counts is what each of them got in this one.
                before = [(record, len(record)) for record in recorders[name].received]
                status = send(servers[name].port, payload)
                known = {id(record): length for record, length in before}
                forwarded = [bytes(record[known.get(id(record), 0):]) for record in recorders[name].received]
                forwarded = [data for data in forwarded if data]
                readings = {tuple(line for data in forwarded for line in read_requests(data, **reader)) for reader in READERS}
                ambiguous = len(readings) > 1
                differences[name] += ambiguous
                if ambiguous and name == "martlet":
                    failures += 1
                    print(f"FAILED: {case}: {forwarded} is read as {readings}")
                counts = "/".join(str(n) for n in sorted({len(reading) for reading in readings}))
                cells.append(f"{status} → {counts}{' ambiguous' if ambiguous else ''}")
            print(f"{case:44}" + "".join(f"{cell:24}" for cell in cells), flush=True)
    print(f"{len(cases)} cases; forwarded so that readers differ: "
          + ", ".join(f"{name} {count}" for name, count in differences.items()))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
