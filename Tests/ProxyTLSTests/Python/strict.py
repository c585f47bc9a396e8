"""Talks HTTP/2 to the front through h2, which refuses whatever is not as RFC 9113 says.

usage: strict.py PORT CERTIFICATE      the upstream behind the front is EchoUpstream of the tests
"""
import random
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

PORT, CERTIFICATE = int(sys.argv[1]), sys.argv[2]


class Client:
    """One connection; events are sorted by stream."""

    def __init__(self, validates=True):
        context = ssl.create_default_context(cafile=CERTIFICATE)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", PORT), 30)
        plain.settimeout(60)
        self.socket = context.wrap_socket(plain, server_hostname="a.test")
        assert self.socket.selected_alpn_protocol() == "h2"
        # Inbound everything is always checked; outbound only where the test does not break a rule on purpose.
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=validates,
            normalize_outbound_headers=validates))
        self.h2.initiate_connection()
        self.streams = {}
        self.is_over = False
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            self.is_over = True
            return
        for event in self.h2.receive_data(data):
            stream = self.streams.setdefault(getattr(event, "stream_id", 0), Stream())
            if isinstance(event, h2.events.ResponseReceived):
                assert not stream.headers, "two final heads"
                stream.headers = dict(event.headers)
            elif isinstance(event, h2.events.InformationalResponseReceived):
                stream.interim.append(dict(event.headers))
            elif isinstance(event, h2.events.DataReceived):
                stream.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                stream.trailers = dict(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(event, h2.events.StreamReset):
                stream.reset = event.error_code
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.is_over = True
        self.flush()

    def request(self, fields, ends=True):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields, end_stream=ends)
        self.streams[stream] = Stream()
        self.flush()
        return stream

    def get(self, path, method="GET", *more):
        return self.request([*head(method, path), *more])

    def send(self, stream, data, ends=True):
        """Sends as the windows allow."""
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))
            if room == 0:
                self.receive()
                continue
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            self.flush()
        if ends:
            self.h2.end_stream(stream)
            self.flush()

    def wait(self, stream, until=None):
        found = self.streams[stream]
        while not (until(found) if until else found.ended or found.reset is not None):
            assert not self.is_over, "the connection ended"
            self.receive()
        return found

    def answer(self, stream, status="200"):
        found = self.wait(stream)
        assert found.reset is None, f"reset with {found.reset}"
        assert found.headers[":status"] == status, found.headers
        return found


class Stream:
    def __init__(self):
        self.headers, self.body, self.trailers, self.interim = {}, b"", {}, []
        self.ended, self.reset = False, None


def head(method, path):
    return [(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)]


def many_at_once():
    client = Client()
    numbers = random.Random(5)
    sizes = {client.get(f"/bytes/{size}"): size for size in (numbers.choice([0, 1, 999, 70_000]) for _ in range(80))}
    for stream, size in sizes.items():
        assert len(client.answer(stream).body) == size
    assert client.answer(client.get("/bytes/100", "HEAD")).body == b""


def bodies():
    client = Client()
    for size in [0, 1, 65_535, 65_536, 500_000]:
        for fields in [[], [("content-length", str(size))]]:
            stream = client.request([*head("POST", "/x"), *fields], ends=False)
            client.send(stream, b"x" * size)
            text = client.answer(stream).body.decode()
            assert ("content-length" in text.lower()) == bool(fields), text
            if fields:
                assert text.endswith(f"body: {size}\n"), text[-100:]


def trailers():
    client = Client()
    stream = client.request(head("POST", "/raw"), ends=False)
    client.send(stream, b"hello", ends=False)
    client.h2.send_headers(stream, [("x-sum", "42"), ("cookie", "never=1"), ("x-more", "a b")], end_stream=True)
    client.flush()
    text = client.answer(stream).body.decode()
    assert "5\r\nhello\r\n0\r\nx-sum: 42\r\nx-more: a b\r\n\r\n" in text, text
    found = client.answer(client.get("/trailers"))
    assert found.body == b"hello" and found.trailers == {"x-sum": "42"}, found.trailers


def websockets():
    # h2 does not know the extended CONNECT in all its versions.
    client = Client(validates=False)
    while not client.streams:
        client.receive()
    while h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL not in client.h2.remote_settings:
        client.receive()
    assert client.h2.remote_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1
    fields = [*head("CONNECT", "/live"), (":protocol", "websocket"), ("sec-websocket-version", "13"),
              ("sec-websocket-protocol", "chat")]
    stream = client.request(fields, ends=False)
    found = client.wait(stream, lambda found: found.headers or found.reset is not None)
    assert found.headers.get(":status") == "200", (found.headers, found.reset)
    assert "sec-websocket-accept" not in found.headers and "upgrade" not in found.headers, found.headers
    total = b""
    for size in [1, 5, 70_000, 300_000]:
        data = bytes(index % 251 for index in range(size))
        client.send(stream, data, ends=False)
        total += data
        client.wait(stream, lambda found: len(found.body) >= len(total))
    assert found.body == total, "echoed as it was"
    client.h2.end_stream(stream)
    client.flush()
    assert client.wait(stream).ended
    for wrong in [[(":protocol", "connect-udp")], []]:
        stream = client.request([*head("CONNECT", "/live"), *wrong] if wrong else
                                [(":method", "CONNECT"), (":authority", "a.test")], ends=False)
        assert client.wait(stream).reset is not None, wrong
    # The connection serves on.
    client.answer(client.get("/bytes/10"))


def broken_rules():
    """Each is the stream's own fault: it is reset, or the connection ended; nothing reaches the upstream."""
    rules = {
        "upper case": [*head("GET", "/"), ("X-Upper", "1")],
        "connection": [*head("GET", "/"), ("connection", "close")],
        "transfer-encoding": [*head("POST", "/"), ("transfer-encoding", "chunked")],
        "line end in a value": [*head("GET", "/"), ("x-split", "a\r\nx-evil: 1")],
        "line end in the path": [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/ HTTP/1.1\r\nx-evil: 1")],
        "space in the method": head("GET / HTTP/1.1\r\nx-evil: 1\r\n\r\nGET", "/"),
        "no path": [(":method", "GET"), (":scheme", "https"), (":authority", "a.test")],
        "two paths": [*head("GET", "/"), (":path", "/other")],
        "no authority": [(":method", "GET"), (":scheme", "https"), (":path", "/")],
        "two hosts": [*head("GET", "/"), ("host", "b.test")],
        "te": [*head("GET", "/"), ("te", "gzip")],
        "two lengths": [*head("POST", "/"), ("content-length", "1"), ("content-length", "2")],
    }
    for name, fields in rules.items():
        client = Client(validates=False)
        stream = client.request(fields)
        while not client.is_over and client.streams[stream].reset is None and not client.streams[stream].ended:
            client.receive()
        found = client.streams[stream]
        status = found.headers.get(":status")
        assert found.reset is not None or client.is_over or status == "400", (name, found.headers, found.body)
        assert b"x-evil" not in found.body, name


for check in [many_at_once, bodies, trailers, websockets, broken_rules]:
    check()
    print(f"{check.__name__}: passed", flush=True)
