"""Runs the server and the client as the manifests do, and asks them what they read, answer and export."""

import os
import re
import resource
import subprocess
import sys
import urllib.error
import urllib.request

# A plain hard limit of descriptors: a pod's may be this low.
DESCRIPTORS = 1024
ANSWER_SECONDS = 60


def get(url):
    """Status and body of a response; (0, reason) if nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def exposition(text):
    """Prometheus' text format: each metric's labels, each label's values. Metrics without a sample count, too."""
    metrics = {name: {} for name in re.findall(r"^# TYPE (\w+) (?!histogram)", text, re.MULTILINE)}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        values = metrics.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            values.setdefault(label, set()).add(value)
    return metrics


class Program:
    """A process that has announced an address by a line with `mark`; it is killed at the end of `with`."""

    def __init__(self, command, mark, env=None, descriptors=None):
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))) if descriptors else None
        self.process = subprocess.Popen(
            list(map(str, command)), env=env, preexec_fn=limit,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.line, self.said = "", ""
        for text in self.process.stdout:
            self.said = text.strip()
            if mark in text:
                self.line = self.said
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def urls(self):
        return re.findall(r"(?:ws|http)://[^/,\s]+", self.line)


def flags(command):
    """The flags, and the environment variables, of a help text."""
    try:
        text = subprocess.run([*map(str, command), "--help"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"check: cannot run the program: {error}", file=sys.stderr)
        sys.exit(2)
    return set(re.findall(r"--[a-z][a-z-]+", text)), set(re.findall(r"\[env:\s+(WS_\w+)=", text))


def server(binary, env):
    """A server with a manifest's environment, and a low descriptor limit: what it holds, answers and exports."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WS_")}
    given = {**plain, **env, "WS_ADDR": "127.0.0.1:0", "WS_ADMIN_ADDR": "127.0.0.1:0", "NO_COLOR": "1"}
    _, variables = flags([binary])
    found = {"env": variables, "limit": 0, "metrics": {}, "admin": {}, "public": {}}
    with Program([binary], "admin http://", given, DESCRIPTORS) as program:
        found["said"] = program.said
        if not program.line:
            return found
        public, admin = program.urls()[:2]
        for path in ["/health", "/ready", "/metrics"]:
            found["admin"][path], body = get(admin + path)
            found["public"][path], _ = get(public.replace("ws://", "http://") + path)
        found["metrics"] = exposition(body)
        [found["limit"]] = map(int, re.findall(r"^ws_connections_limit (\d+)", body, re.MULTILINE))
    return found


def client(binary, server_binary):
    """The flags of `client run`, and what a client exports."""
    known, _ = flags([binary, "run"])
    plain = {name: value for name, value in os.environ.items() if not name.startswith("WS_")}
    with Program([server_binary, "--addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0"], "admin http://", plain) as served:
        run = [binary, "run", f"--url={served.urls()[0]}/echo", "--connections=1", "--duration=1h", "--metrics-addr=127.0.0.1:0"]
        with Program(run, "metrics on http://", plain) as program:
            return {"flags": known, "metrics": exposition(get(program.urls()[0] + "/metrics")[1])}
