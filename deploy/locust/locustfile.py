"""Load for an echo server: each user holds a connection, sends messages, and checks every echo.

A message is due on each connection every --pause seconds, but is sent only when the echo of the one before is there: a
closed loop, in which a server that stands still is not asked in the meantime. `client run --rate` has the open loop.
"""

import argparse
import os
import time

import websocket
from locust import User, constant_pacing, events, task

PATIENCE_S = 10


def at_least(lowest, kind):
    """For a flag: a number that is not below this one."""

    def parse(text):
        try:
            number = kind(text)
        except ValueError:
            number = lowest - 1
        if not lowest <= number < float("inf"):
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {lowest} on")
        return number

    return parse


@events.init_command_line_parser.add_listener
def add_flags(parser):
    # A message carries its user and its number.
    parser.add_argument("--payload", type=at_least(16, int), default=32, help="octets in a message")
    parser.add_argument("--pause", type=at_least(0, float), default=1.0, help="seconds from one message of a user to the next; 0: none")


class EchoUser(User):
    """One connection."""

    # In the locust's time, which counts from the start of one task to that of the next.
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
            self.socket = websocket.create_connection(self.host, timeout=PATIENCE_S)
            return 0

        if not self.measure("connect", connect):
            # Whoever is refused does not ask again at once.
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
        """Does it, and tells Locust how long it took or what went wrong. True if it went well."""
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
        """Closes the connection, if there is one, with the closing handshake as far as the server plays along."""
        if self.socket is not None:
            try:
                self.socket.close(timeout=1)
            except (OSError, websocket.WebSocketException):
                pass  # It is gone either way.
            self.socket = None
