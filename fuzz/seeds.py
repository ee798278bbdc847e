#!/usr/bin/env python3
"""Writes the hand-made inputs into corpus/, where cargo fuzz cmin thins them out."""

from pathlib import Path
from struct import pack

CORPUS = Path(__file__).parent / "corpus"
KEY = b"\x01\x02\x03\x04"


def put(target, name, content):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(content)


def frame(first, payload, key=KEY, form=0):
    """A client's frame, with its length in 16 (form 126) or 64 bits (form 127) if needed or requested."""
    form = form or (0 if len(payload) < 126 else 126)
    encoded = bytes([first, (0x80 if key else 0) | (form or len(payload))])
    encoded += {0: b"", 126: pack(">H", len(payload)), 127: pack(">Q", len(payload))}[form]
    if key:
        encoded += key
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return encoded + payload


HELLO = frame(0x81, b"Hello")
STREAMS = {
    "text": HELLO,
    "many": HELLO * 20,
    "binary-long": frame(0x82, bytes(range(256)) * 4),
    "long-forms": frame(0x82, b"abc", form=126) + frame(0x82, b"abc", form=127),
    "long-form-control": frame(0x89, b"abc", form=126),
    "fragments": frame(0x01, b"h\xc3") + frame(0x89, b"ping") + frame(0x00, b"\xa9!") + frame(0x80, b""),
    "binary-fragments": frame(0x02, b"a" * 100) + frame(0x00, b"b" * 40) + frame(0x8A, b"") + frame(0x80, b"c"),
    "ping": frame(0x89, b"") + frame(0x89, b"x" * 125) + frame(0x8A, b"unasked"),
    "close": HELLO + frame(0x88, b"\x03\xe8bye") + HELLO,
    "close-empty": frame(0x88, b""),
    "close-one-octet": frame(0x88, b"\x03"),
    "close-bad-code": frame(0x88, pack(">H", 1005)),
    "close-bad-utf8": frame(0x88, b"\x03\xe8\xff"),
    "close-private-code": frame(0x88, pack(">H", 4000) + "€".encode()),
    "unmasked": HELLO + frame(0x81, b"Hello", key=None),
    "reserved-bits": HELLO + frame(0xC1, b"a"),
    "reserved-opcode": frame(0x83, b""),
    "fragmented-control": frame(0x09, b""),
    "long-control": frame(0x89, b"x" * 126),
    "stray": frame(0x80, b""),
    "unfinished": frame(0x01, b"a") + frame(0x81, b"b"),
    "bad-utf8": HELLO + frame(0x81, b"ab\xffcd"),
    "cut-utf8": frame(0x81, b"\xe2\x82"),
    "too-big": b"\x82\xff" + pack(">Q", 1 << 40) + KEY,
    "too-big-and-unmasked": b"\x82\x7f" + pack(">Q", 1 << 40),
    "too-big-in-fragments": frame(0x02, b"x" * 600) + frame(0x80, b"y" * 600),
}

# The steps of fuzz_targets/connection.rs.
ARRIVE, ARRIVE_32, READ, READ_64, INTERRUPT, ARRIVE_UNSEEN, BEFALL, ALL = range(8)


def steps(*script):
    return bytes(step | n << 3 for step, n in script)


SCRIPTS = {
    "all": steps((ALL, 0)),
    "slow-reader": steps((ARRIVE_32, 31), *[(READ, 20)] * 20),
    "pieces": steps((READ_64, 3), (ARRIVE_32, 3), (ARRIVE, 30), (ARRIVE, 7), *[(ARRIVE, 0)] * 40),
    "mixed": steps(
        (READ_64, 31), *[(ARRIVE, 28), (ARRIVE_UNSEEN, 3), (READ, 3), (INTERRUPT, 0), (ARRIVE_32, 1)] * 8
    ),
}
EVENTS = {"ping": 0, "tick": 8, "dead": 12, "close": 16, "eof": 20, "reset": 24, "spurious": 28}


def connection(name, script, stream, buffer=7, limits=2):
    put("connection", name, bytes([buffer, limits, len(script)]) + script + stream)


for stream_name, stream in STREAMS.items():
    for script_name, script in SCRIPTS.items():
        connection(f"{stream_name}-{script_name}", script, stream, buffer=3 if script_name == "pieces" else 7)
    put("frame_header", stream_name, stream)
    put("frame_header", f"write-{stream_name}", bytes([len(stream) % 256, 0xD5, 7]) + pack(">Q", 1001) + stream)
for name, n in EVENTS.items():
    connection(f"{name}-open", steps((ALL, 0), (BEFALL, n)), HELLO + frame(0x01, b"half"))
    connection(f"{name}-unread", steps((ARRIVE_32, 31), (BEFALL, n), (READ, 9), (BEFALL, n + 1)), HELLO * 9)
with_data = steps((ARRIVE_32, 31), *[(READ_64, 31)] * 4, (ARRIVE_UNSEEN, 3), (BEFALL, EVENTS["eof"]))
connection("eof-with-data", with_data, HELLO * 200)
connection("eof-in-line", with_data, HELLO * 200, buffer=2)
# Bit 3 of the first byte: a small budget, which only more than 4 KiB exhausts.
for name, stream in {"message": frame(0x82, b"m" * 6000)[:5500], "messages": frame(0x82, b"m" * 1500) * 4}.items():
    for script_name, script in SCRIPTS.items():
        connection(f"budget-{name}-{script_name}", script, stream, buffer=15, limits=3)
        connection(f"budget-{name}-{script_name}-in-pieces", script, stream, buffer=12, limits=3)
for request in range(1, 4):
    connection(f"request-{request}", steps((ALL, 0)), b"more", limits=60 + request << 2)

REQUEST = """GET /echo HTTP/1.1\r
Host: example.com\r
Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
\r
"""
CHANGES = {
    "canonical": ("", ""),
    "root": ("/echo", "/"),
    "query": ("/echo", "/echo?room=1"),
    "absolute": ("/echo", "http://example.com/echo"),
    "absolute-root": ("/echo", "http://example.com"),
    "case": ("websocket", "WebSocket"),
    "connection-listed": ("Connection: Upgrade", "connection: keep-alive, upgrade"),
    "connection-twice": ("Connection: Upgrade", "Connection: keep-alive\r\nCONNECTION:UPGRADE"),
    "upgrade-listed": ("Upgrade: websocket", "Upgrade: h2c, websocket"),
    "post": ("GET", "POST"),
    "head": ("GET", "HEAD"),
    "connect": ("GET /echo", "CONNECT example.com:80"),
    "asterisk": ("GET /echo", "OPTIONS *"),
    "http-1.0": ("HTTP/1.1", "HTTP/1.0"),
    "http-2": ("GET /echo HTTP/1.1", "PRI * HTTP/2.0"),
    "nowhere": ("/echo", "/nowhere"),
    "health": ("/echo", "/health"),
    "metrics": ("/echo", "/metrics?a"),
    "fragment": ("/echo", "/echo#a"),
    "utf8-target": ("/echo", "/echo?é"),
    "no-host": ("Host: example.com\r\n", ""),
    "two-hosts": ("Host: example.com\r\n", "Host: a\r\nHost: b\r\n"),
    "h2c": ("websocket", "h2c"),
    "version-8": ("Version: 13", "Version: 8"),
    "short-key": ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="),
    "space-in-name": ("Host", "Ho st"),
    "space-before-colon": ("Host:", "Host :"),
    "folded": ("Host:", "A: b\r\n c\r\nHost:"),
    "bare-lf": ("\r\n", "\n"),
    "bare-cr": ("Host: ", "Host: \r"),
    "nul": ("Host: ", "Host: \0"),
    "content-length": ("Host:", "Content-Length: 5\r\nHost:"),
    "chunked": ("Host:", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\nHost:"),
    "harmless": ("Host:", "X-A: b\r\nX-C: \r\nHost:"),
    "origin": ("Host:", "Origin: https://example.com\r\nHost:"),
    "empty-lines": ("GET", "\r\n\r\nGET"),
    "obs-text": ("Host:", "A: é\r\nHost:"),
    "many-fields": ("Host:", "A:b\r\n" * 70 + "Host:"),
    "long-field": ("Host:", "A: " + "x" * 3500 + "\r\nHost:"),
    "cut": ("=\r\n\r\n", "="),
}
for name, (old, new) in CHANGES.items():
    assert old in REQUEST, name
    put("http_head", name, (REQUEST.replace(old, new) if old else REQUEST).encode())
put("http_head", "pipelined", REQUEST.encode() + HELLO)
put("http_head", "tls", bytes.fromhex("1603010200010001fc0303") + bytes(50))
