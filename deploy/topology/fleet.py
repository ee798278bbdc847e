"""Servers, balancers and clients, each in a network namespace on one bridge."""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "haproxy" / "haproxy.cfg"
BALANCERS = {f"lb{n}": f"10.99.0.{n}" for n in range(1, 4)}
SERVERS = {f"s{n}": f"10.99.0.{10 + n}" for n in range(1, 6)}
CLIENTS = {f"c{n}": f"10.99.0.{20 + n}" for n in range(1, 6)}
# The clients' name for all balancers, as in a DNS record with several addresses.
NAME = "echo.test"
TIMEOUT_S = 60
COUNTS = ["active", "accepted_total", "closed_total"]


class Wrong(Exception):
    """A check that failed."""


def command(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)


def end(process):
    """Kills a process, unless it has ended."""
    if process.poll() is None:
        process.kill()
        process.wait()


def until(what, holds, instead=lambda: "false"):
    """Waits for a condition, and raises Wrong after TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise Wrong(f"not within {TIMEOUT_S} s: {what}; {instead()}")
        time.sleep(0.02)


class Network:
    """Namespaces on a bridge. This process enters the bridge's namespace, from which it reaches all others."""

    def __init__(self, undo):
        self.prefix = f"ws{os.getpid()}-"
        bridge = self.namespace("lan", undo)
        command("ip", "-n", bridge, "link", "add", "lan", "type", "bridge")
        command("ip", "-n", bridge, "address", "add", "10.99.0.254/24", "dev", "lan")
        for name, address in {**BALANCERS, **SERVERS, **CLIENTS}.items():
            inside = self.namespace(name, undo)
            command("ip", "-n", bridge, "link", "add", name, "master", "lan", "type", "veth", "peer", "eth0", "netns", inside)
            command("ip", "-n", inside, "address", "add", f"{address}/24", "dev", "eth0")
            for namespace, link in [(inside, "lo"), (inside, "eth0"), (bridge, name)]:
                command("ip", "-n", namespace, "link", "set", link, "up")
        command("ip", "-n", bridge, "link", "set", "lan", "up")
        for name in CLIENTS:
            self.hosts(name, undo)
        with open(f"/run/netns/{bridge}") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0x40000000):
                raise OSError(ctypes.get_errno(), "cannot enter the bridge's namespace")

    def namespace(self, name, undo):
        command("ip", "netns", "add", self.prefix + name)
        undo.callback(subprocess.run, ["ip", "netns", "delete", self.prefix + name], capture_output=True)
        return self.prefix + name

    def hosts(self, name, undo):
        """Writes the namespace's /etc/hosts (ip-netns(8))."""
        folder = Path("/etc/netns", self.prefix + name)
        folder.mkdir(parents=True)
        undo.callback(folder.rmdir)
        file = folder / "hosts"
        file.write_text("".join(f"{address} {NAME}\n" for address in BALANCERS.values()))
        undo.callback(file.unlink)

    def start(self, name, words, undo, **more):
        """Starts a process in a namespace, and ends it on exit. The terminal's Ctrl-C does not reach it."""
        words = ["ip", "netns", "exec", self.prefix + name, *map(str, words)]
        process = subprocess.Popen(words, start_new_session=True, stdin=subprocess.DEVNULL, **more)
        undo.callback(end, process)
        return process

    def link(self, name, state):
        command("ip", "link", "set", name, state)


class Fleet:
    """The processes, and what they report."""

    def __init__(self, options, directory, undo):
        self.options, self.directory, self.undo = options, directory, undo
        self.network = Network(undo)
        self.servers, self.balancers, self.clients = {}, {}, {}

    def start(self, name, words, **more):
        with open(self.directory / f"{name.partition('.')[0]}.log", "a") as log:
            return self.network.start(name.partition(".")[0], words, self.undo, stdout=log, stderr=log, **more)

    def start_server(self, name):
        options = self.options
        flags = ["--addr", "0.0.0.0:8000", "--admin-addr", "0.0.0.0:8001", "--log", "error"]
        flags += ["--max-connections", options.connections, "--ping-interval", "2s", "--idle-timeout", "6s"]
        flags += ["--drain-timeout", options.drain_timeout, *options.flags]
        environment = {**os.environ, "WS_METRICS_ON": "admin"}
        self.servers[name] = self.start(name, [options.bin / options.stage, *flags], env=environment)
        until(f"{name} is ready", lambda: self.metrics(name) is not None, lambda: self.last_line(name))

    def start_balancer(self, name):
        """Starts enough processes on one port for their descriptor limit: a connection takes two descriptors.

        Two balancers must hold all connections, which the kernel does not spread evenly over the processes.
        """
        most = (int(subprocess.run(["bash", "-c", "ulimit -Hn"], capture_output=True, text=True).stdout) - 200) // 2
        self.balancers[name] = []
        for number in range(-(-self.options.connections * 5 // (2 * most * 4))):
            path = self.directory / f"{name}.{number}"
            path.write_text(CONFIG.read_text().replace("/run/haproxy/admin.sock", f"{path}.sock"))
            self.balancers[name].append(self.start(f"{name}.{number}", ["haproxy", "-q", "-db", "-f", path]))
        until(f"{name} is ready", lambda: self.states(name), lambda: self.last_line(name))

    def start_client(self, name):
        options = self.options
        each, rest = divmod(options.connections, len(CLIENTS))
        flags = ["--url", f"ws://{NAME}:8000/echo", "--connections", each + (list(CLIENTS).index(name) < rest)]
        flags += ["--rate", options.rate, "--duration", "1h", "--reconnect", "--quiet"]
        flags += ["--json", self.directory / f"{name}.json"]
        self.clients[name] = self.start(name, [options.bin / "client", "run", *flags])

    def last_line(self, name):
        return f"{name} says: {(self.directory / f'{name}.log').read_text().strip().splitlines()[-1:]}"

    def metrics(self, name):
        """A server's counters of active, accepted and closed connections. None if it does not answer."""
        try:
            text = urllib.request.urlopen(f"http://{SERVERS[name]}:8001/metrics", timeout=1).read().decode()
        except OSError:
            return None
        values = re.findall(r"^ws_connections_(active|accepted_total|closed_total)(?:\{.*\})? (\d+)$", text, re.MULTILINE)
        counts = dict.fromkeys(COUNTS, 0)
        for key, value in values:
            counts[key] += int(value)
        return counts

    def active(self, names):
        return {name: (self.metrics(name) or {"active": 0})["active"] for name in names}

    def rows(self, name):
        """`show stat` of each process of a balancer, as dictionaries by proxy and server. Empty if one does not answer."""
        try:
            tables = [self.ask(path) for path in sorted(self.directory.glob(f"{name}.*.sock"))]
        except OSError:
            return []
        if len(tables) < len(self.balancers[name]):
            return []
        split = [[line.split(",") for line in table.splitlines() if line] for table in tables]
        return [{(row[0], row[1]): dict(zip(table[0], row)) for row in table[1:]} for table in split]

    def ask(self, path):
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(path))
            control.sendall(b"show stat\n")
            return b"".join(iter(lambda: control.recv(65536), b"")).decode()

    def states(self, name):
        """The states that a balancer's processes report of each server."""
        return [{server: rows["echo", server]["status"] for server in SERVERS} for rows in self.rows(name)]

    def has_state(self, server, state="UP"):
        """Whether every process of every live balancer reports this state of the server."""
        live = [name for name, processes in self.balancers.items() if processes]
        return all((states := self.states(name)) and all(now[server] == state for now in states) for name in live)

    def sessions(self, name):
        return sum(int(rows["ws", "FRONTEND"]["scur"]) for rows in self.rows(name))

    def kill_balancer(self, name):
        # All at once, or clients would come back through those that are left.
        for process in self.balancers[name]:
            process.kill()
        for process in self.balancers[name]:
            process.wait()
        for file in self.directory.glob(f"{name}.*.sock"):
            file.unlink()
        self.balancers[name] = []

    def balancer_bytes(self):
        """Resident memory of all balancers' processes, and their number."""
        live = [process.pid for processes in self.balancers.values() for process in processes]
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in live]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE"), len(live)

    def end_clients(self):
        """Ends the clients, and returns their merged result."""
        for client in self.clients.values():
            client.send_signal(signal.SIGINT)
        for name, client in self.clients.items():
            if client.wait(timeout=TIMEOUT_S):
                raise Wrong(f"{name} failed: {self.last_line(name)}")
        files = [self.directory / f"{name}.json" for name in CLIENTS]
        merged = [self.options.bin / "client", "merge", *files, "--json", self.directory / "all.json"]
        print(subprocess.run(merged, check=True, capture_output=True, text=True).stdout, end="")
        return json.loads((self.directory / "all.json").read_text())
