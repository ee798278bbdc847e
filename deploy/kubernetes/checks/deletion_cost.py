"""Runs `../deletion-cost` with a kubectl that answers from a file and records what it is asked to change."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent / "deletion-cost"
COST = "controller.kubernetes.io/pod-deletion-cost"
KUBECTL = """#!/bin/sh
cd "$(dirname "$0")"
case "$*" in
    *annotate*) echo "$*" >>changes ;;
    *"get pods"*) cat pods ;;
    *custom.metrics*%3Decho) cat metrics || { echo "Error from server (NotFound)" >&2; exit 1; } ;;
    *) echo "unknown: $*" >&2; exit 1 ;;
esac
"""


def pod(name, ready=True, **metadata):
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"name": name, **metadata}, "status": status}


def metrics(**counts):
    return {"items": [{"describedObject": {"name": name}, "value": value} for name, value in counts.items()]}


# What is tried, the pods, their metrics, the exit status, the costs that are set, and what it says.
CASES = [
    ("costs are connections", [pod("a"), pod("b")], metrics(a="90k", b="1500m"), 0, {"a": 90_000, "b": 2}, "b 2\na 90000"),
    ("an old cost is replaced, an equal one is not",
     [pod("a", annotations={COST: "7"}), pod("b", annotations={COST: "8"})], metrics(a="9", b="8"), 0, {"a": 9}, "a 9"),
    ("a pod that terminates has no cost",
     [pod("a"), pod("b", deletionTimestamp="2026-11-30")], metrics(a="1", b="2"), 0, {"a": 1}, "a 1"),
    ("a full pod is removed first",
     [pod("a"), pod("b", ready=False)], metrics(a="9", b="99"), 1, {"a": 9, "b": 99}, "b (99 connections)"),
    ("a new pod without a metric is removed first",
     [pod("a"), pod("b", ready=False)], metrics(a="9"), 1, {"a": 9}, "b (unknown"),
    ("a ready pod without a metric", [pod("b")], metrics(), 2, {}, "no ws_connections_active of b"),
    ("no pods", [], metrics(), 2, {}, "no pod has the label app=echo"),
    ("no adapter", [pod("a")], None, 2, {}, "NotFound"),
]


def faults():
    for name, pods, values, status, costs, text in CASES:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "kubectl").write_text(KUBECTL)
            (folder / "kubectl").chmod(0o755)
            (folder / "pods").write_text(json.dumps({"items": pods}))
            if values is not None:
                (folder / "metrics").write_text(json.dumps(values))
            environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True)
            changes = (folder / "changes").read_text().splitlines() if (folder / "changes").exists() else []
        expected = {f"-n websockets annotate --overwrite pod {pod} {COST}={cost}" for pod, cost in costs.items()}
        said = done.stdout + done.stderr
        if done.returncode != status or set(changes) != expected or text not in said:
            yield f"deletion-cost, {name}: status {done.returncode}, changes {changes}, says {said.strip()!r}"
