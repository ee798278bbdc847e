"""Breaks each thing that the rules look at, once, and expects the rules to say so: a check of the check."""

import copy

from rules import faults, one, pod_of

BIG, LOAD = "overlays/million", "load"


def found(world, overlay, kind):
    return one(world["overlays"][overlay], kind)


def server(world):
    return pod_of(found(world, BIG, "Deployment"))


def variable(world, name, value):
    """Sets an environment variable of the server."""
    env = server(world)[1]["env"]
    env[:] = [entry for entry in env if entry["name"] != name]
    if value is not None:
        env.append({"name": name, "value": value})


def without(world, overlay, kind):
    resources = world["overlays"][overlay]
    resources.remove(one(resources, kind))


def monitor(world, overlay=BIG):
    return found(world, overlay, "PodMonitor")


def scrape(world, overlay=BIG):
    return monitor(world, overlay)["spec"]["podMetricsEndpoints"][0]


def policy(world, overlay=BIG):
    return found(world, overlay, "NetworkPolicy")["spec"]


def alert(world, name):
    return next(rule for group in world["alerts"]["groups"] for rule in group["rules"] if rule["alert"] == name)


def panel(world, title):
    return next(panel for panel in world["dashboard"]["panels"] if panel["title"] == title)["targets"][0]


def variable(world, name):
    return next(one for one in world["dashboard"]["templating"]["list"] if one["name"] == name)


def client(world):
    return pod_of(found(world, LOAD, "Job"))


def argument(world, name, value):
    args = client(world)[1]["args"]
    args[:] = [f"{name}={value}" if arg.startswith(f"{name}=") else arg for arg in args]


def replace(query, old, new):
    assert old in query["expr"], f"{query['expr']} has no {old}"
    query["expr"] = query["expr"].replace(old, new)


# What a rule must say, and the change that makes it.
MUTATIONS = [
    ("set nodeTaintsPolicy: Honor", lambda w: server(w)[0]["topologySpreadConstraints"][0].pop("nodeTaintsPolicy")),
    ("set nodeTaintsPolicy: Honor",
     lambda w: server(w)[0]["topologySpreadConstraints"][1].update(nodeTaintsPolicy="Ignore")),
    ("set nodeTaintsPolicy: Honor", lambda w: client(w)[0]["topologySpreadConstraints"][0].pop("nodeTaintsPolicy")),
    ("not spread over nodes", lambda w: server(w)[0].pop("topologySpreadConstraints")),
    ("counts other pods",
     lambda w: server(w)[0]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update(app="x")),
    ("Deployment echo: no pod has the labels",
     lambda w: found(w, BIG, "Deployment")["spec"]["selector"]["matchLabels"].update(app="x")),
    ("Service echo: no pod has the labels", lambda w: found(w, BIG, "Service")["spec"]["selector"].update(app="x")),
    ("PodDisruptionBudget echo: no pod has the labels",
     lambda w: found(w, BIG, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(app="x")),
    ("PodMonitor echo: no pod has the labels", lambda w: monitor(w)["spec"]["selector"]["matchLabels"].update(app="x")),
    ("PodMonitor load: no pod has the labels",
     lambda w: monitor(w, LOAD)["spec"]["selector"]["matchLabels"].update(app="x")),
    ("NetworkPolicy echo: no pod has the labels", lambda w: policy(w)["podSelector"]["matchLabels"].update(app="x")),
    ("which is not there", lambda w: found(w, BIG, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="x")),
    ("Service echo: Deployment echo has no port named x",
     lambda w: found(w, BIG, "Service")["spec"]["ports"][0].update(targetPort="x")),
    ("PodMonitor echo: Deployment echo has no port named x", lambda w: scrape(w).update(port="x")),
    ("NetworkPolicy echo: Deployment echo has no port named x",
     lambda w: policy(w)["ingress"][0]["ports"][0].update(port="x")),
    ("Deployment echo: Deployment echo has no port named x",
     lambda w: server(w)[1]["livenessProbe"]["httpGet"].update(port="x")),
    ("WS_ADDR is 0.0.0.0:8000, and its port ws is 80", lambda w: server(w)[1]["ports"][0].update(containerPort=80)),
    ("WS_ADMIN_ADDR is 127.0.0.1:8001", lambda w: variable(w, "WS_ADMIN_ADDR", None)),
    ("no NetworkPolicy selects", lambda w: without(w, BIG, "NetworkPolicy")),
    ("opens the admin port to everyone", lambda w: policy(w)["ingress"][1].pop("from")),
    ("has a rule without ports", lambda w: policy(w)["ingress"][1].pop("ports")),
    ("drain: a field is missing", lambda w: server(w)[1].pop("lifecycle")),
    ("drain: a field is missing", lambda w: without(w, BIG, "PodDisruptionBudget")),
    ("lets clients in on the port ws", lambda w: policy(w)["ingress"].pop(0)),
    ("lets Prometheus in on the port admin", lambda w: policy(w)["ingress"].pop(1)),
    ("lets Prometheus in on the port metrics", lambda w: policy(w, LOAD)["ingress"].clear()),
    ("admits the whole Internet", lambda w: found(w, BIG, "Service")["spec"].pop("loadBalancerSourceRanges")),
    ("admits the whole Internet",
     lambda w: found(w, BIG, "Service")["spec"]["loadBalancerSourceRanges"].append("0.0.0.0/0")),
    ("set WS_METRICS_ON to admin", lambda w: w["servers"][BIG]["public"].update({"/metrics": 200})),
    ("publishes another port than ws",
     lambda w: found(w, BIG, "Service")["spec"]["ports"].append({"port": 8001, "targetPort": "admin"})),
    ("livenessProbe asks for", lambda w: server(w)[1]["livenessProbe"]["httpGet"].update(path="/")),
    ("readinessProbe asks for", lambda w: server(w)[1].pop("readinessProbe")),
    ("readinessProbe asks for", lambda w: server(w)[1]["readinessProbe"]["httpGet"].update(path="/health")),
    ("an idle server answers readinessProbe", lambda w: w["servers"][BIG]["admin"].update({"/ready": 503})),
    ("an idle server answers livenessProbe", lambda w: w["servers"][BIG]["admin"].update({"/health": 404})),
    ("raise terminationGracePeriodSeconds", lambda w: server(w)[0].update(terminationGracePeriodSeconds=70)),
    ("raise terminationGracePeriodSeconds", lambda w: variable(w, "WS_DRAIN_TIMEOUT", "80s")),
    ("raise minReadySeconds", lambda w: found(w, BIG, "Deployment")["spec"].pop("minReadySeconds")),
    ("a node drain evicts several pods", lambda w: found(w, BIG, "PodDisruptionBudget")["spec"].update(maxUnavailable=2)),
    ("use IfHealthyBudget",
     lambda w: found(w, BIG, "PodDisruptionBudget")["spec"].update(unhealthyPodEvictionPolicy="AlwaysAllow")),
    ("the server reads no WS_PINGS", lambda w: variable(w, "WS_PINGS", "60s")),
    ("the server holds 0", lambda w: w["servers"][BIG].update(limit=0)),
    ("connections need", lambda w: server(w)[1]["resources"]["limits"].update(memory="512Mi")),
    ("use 50% to 80%",
     lambda w: found(w, BIG, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"].update(averageValue="90k")),
    ("asks for x, which the server does not export",
     lambda w: found(w, BIG, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"].update(name="x")),
    ("which prometheus-adapter.yaml does not have",
     lambda w: w["adapter"]["rules"]["custom"][0]["name"].update({"as": "x"})),
    ("set parallelism to completions", lambda w: found(w, LOAD, "Job")["spec"].update(parallelism=2)),
    ("`client run` knows no --speed", lambda w: client(w)[1]["args"].append("--speed=9")),
    ("nothing sets WHEN", lambda w: argument(w, "--start-at", "$(WHEN)")),
    ("no Service is named echoes", lambda w: argument(w, "--url", "ws://echoes:8000/echo")),
    ("has port 8001", lambda w: argument(w, "--url", "ws://echo:8001/echo")),
    ("--metrics-addr is 0.0.0.0:1", lambda w: argument(w, "--metrics-addr", "0.0.0.0:1")),
    ("5000 connections need", lambda w: client(w)[1]["resources"]["limits"].update(memory="16Mi")),
    ("ports of ip_local_port_range", lambda w: client(w)[0]["securityContext"]["sysctls"][0].update(value="60000 61000")),
    ("is not in the namespace", lambda w: found(w, BIG, "Service")["metadata"].update(namespace="default")),
    ("may run as root", lambda w: server(w)[0]["securityContext"].update(runAsNonRoot=False)),
    ("can be written to", lambda w: client(w)[1]["securityContext"].pop("readOnlyRootFilesystem")),
    ("not a placeholder", lambda w: server(w)[1].update(image="server")),
    ("there is no PriorityClass", lambda w: without(w, "overlays/shared", "PriorityClass")),
    ("of limits.memory, and it allows",
     lambda w: found(w, "overlays/shared", "ResourceQuota")["spec"]["hard"].update({"limits.memory": "1Gi"})),
    ("of pods, and it allows 9", lambda w: found(w, "overlays/shared", "ResourceQuota")["spec"]["hard"].update(pods="9")),
    ("no program exports ws_full", lambda w: replace(alert(w, "ServerFull"), "ws_connections_active", "ws_full")),
    ("no program exports ws_open", lambda w: replace(panel(w, "Connections"), "ws_connections_active", "ws_open")),
    ("no program exports ws_connections_active",
     lambda w: [s["metrics"].pop("ws_connections_active") for s in w["servers"].values()]),
    ("with reason=fuller", lambda w: replace(alert(w, "ServerRejecting"), '"full|', '"fuller|')),
    ("has no label why", lambda w: replace(alert(w, "ServerRejecting"), "reason=", "why=")),
    ("groups by cause", lambda w: replace(panel(w, "Rejects by reason"), ", reason)", ", cause)")),
    ("names the label cause", lambda w: alert(w, "ServerRejecting")["annotations"].update(summary="{{ $labels.cause }}")),
    ("selects the job server", lambda w: replace(alert(w, "ServerDown"), "ws-server", "server")),
    ("the job ws-server is missing in prometheus.yml",
     lambda w: w["prometheus.yml"]["scrape_configs"][0].update(job_name="x")),
    ("the job ws-client is missing in fleet.yml", lambda w: w["fleet.yml"]["scrape_configs"].pop()),
    ("the PodMonitors: the job websockets/echo",
     lambda w: [scrape(w, o).pop("relabelings") for o in w["overlays"] if "load" not in o]),
    ("up without a job", lambda w: replace(panel(w, "Servers up"), 'job=~"$job"', "")),
    ("process_open_fds without a job", lambda w: replace(panel(w, "Descriptors"), 'job=~"$job",', "")),
    ("has no variable job", lambda w: w["dashboard"]["templating"]["list"].remove(variable(w, "job"))),
    ("has no variable stage", lambda w: w["dashboard"]["templating"]["list"].remove(variable(w, "stage"))),
    ("it starts with x", lambda w: variable(w, "job")["current"].update(value="x")),
    ("differs from deploy/prometheus/alerts.yml", lambda w: alert(w, "ServerFull").update({"for": "5m"})),
    ("there is no PrometheusRule", lambda w: without(w, BIG, "PrometheusRule")),
    ("without a label `release`", lambda w: monitor(w)["metadata"].pop("labels")),
    ("have different labels `release`", lambda w: monitor(w)["metadata"]["labels"].update(release="x")),
]


def undetected(world, rules):
    """The mutations of a faultless world that the rules do not report, one line each."""
    for expected, change in MUTATIONS:
        broken = copy.deepcopy(world)
        change(broken)
        said = list(faults(rules, broken))
        if not any(expected in text for text in said):
            yield f"a mutation is not detected: `{expected}` is not in {said or 'no fault at all'}"
