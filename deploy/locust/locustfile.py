"""Load for an echo server: each user holds a connection, sends messages, and verifies every echo.

A message is due on each connection every --pause seconds, but is sent only after the previous echo has arrived. This is
a closed loop: a server that pauses receives nothing meanwhile. `client run --rate` has the open loop.
"""

import argparse
import os
import time

import websocket
from locust import User, constant_pacing, events, task

TIMEOUT_S = 10


def at_least(lowest, kind):
    """The parser of a flag's number, which must be at least `lowest`."""

    def parse(text):
        try:
            number = kind(text)
        except ValueError:
            number = lowest - 1
        if not lowest <= number < float("inf"):
            raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least {lowest}")
        return number

    return parse


@events.init_command_line_parser.add_listener
def add_flags(parser):
    # 16 bytes: a message contains its user's id and its number.
    parser.add_argument("--payload", type=at_least(16, int), default=32, help="bytes per message")
    parser.add_argument("--pause", type=at_least(0, float), default=1.0, help="seconds between a user's messages (0: no pause)")


class EchoUser(User):
    """One connection."""

    # Locust's constant pacing counts from the start of one task to the start of the next.
    def wait_time(self):
        return constant_pacing(self.environment.parsed_options.pause)(self)

    def on_start(self):
        self.id = os.urandom(8)
        self.sent = 0
        self.socket = None
        self.connect()

    def on_stop(self):
        self.drop()

    @task
    def echo(self):
        if self.socket is None:
            self.connect()
        if self.socket is not None:
            self.measure("echo", self.exchange)

    def connect(self):
        def connect():
            self.socket = websocket.create_connection(self.host, timeout=TIMEOUT_S)
            return 0

        if not self.measure("connect", connect):
            # A rejected user does not retry at once.
            time.sleep(1)

    def exchange(self):
        self.sent += 1
        message = (self.id + self.sent.to_bytes(8, "big")).ljust(self.environment.parsed_options.payload, b".")
        self.socket.send_binary(message)
        answer = self.socket.recv()
        if answer != message:
            raise ValueError("wrong echo")
        return len(answer)

    def measure(self, name, act):
        """Calls `act` and reports its duration or error to Locust. True if it succeeded."""
        start, length, failure = time.perf_counter(), 0, None
        try:
            length = act()
        except (OSError, ValueError, websocket.WebSocketException) as error:
            failure = error
            self.drop()
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=(time.perf_counter() - start) * 1000,
            response_length=length,
            exception=failure,
            context={},
        )
        return failure is None

    def drop(self):
        """Closes the connection, if any, with a closing handshake if the server takes part in it."""
        if self.socket is not None:
            try:
                self.socket.close(timeout=1)
            except (OSError, websocket.WebSocketException):
                pass  # The connection is unusable either way.
            self.socket = None
