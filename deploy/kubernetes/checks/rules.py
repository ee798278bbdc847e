"""What no schema knows: whether the rendered manifests, the monitoring and the programs agree with each other.

Each rule takes the world that `../check` collects and yields its faults, one line each. `mutations.py` breaks each rule.
"""

import re

# At least what results/2026-11-30-series has for a connection, and for the empty process.
KERNEL_BYTES, SERVER_BYTES, CLIENT_BYTES, EMPTY_BYTES = 4_050, 9, 60, 8_000_000


def quantity(text):
    """A Kubernetes quantity as a number."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()
    units = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "MiB": 2**20}
    return float(number) * units[unit]


def seconds(text):
    return float(re.fullmatch(r"([0-9.]+)s", text).group(1))


def name_of(resource):
    return f"{resource['kind']} {resource['metadata']['name']}"


def every(world, *kinds):
    """Each resource of these kinds, with its overlay and the overlay's other resources."""
    for overlay, resources in world["overlays"].items():
        for resource in resources:
            if resource["kind"] in kinds:
                yield f"{overlay}: {name_of(resource)}", resource, resources


def one(resources, kind):
    found = [resource for resource in resources if resource["kind"] == kind]
    if not found:
        raise KeyError(kind)
    return found[0]


def pod_of(resource):
    """The template's pod, its container, and the container's literal environment variables."""
    spec = resource["spec"]["template"]["spec"]
    container = spec["containers"][0]
    return spec, container, {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def ports_of(resource):
    return {port["name"]: port["containerPort"] for port in pod_of(resource)[1]["ports"]}


def selected(resources, labels):
    """The workloads whose pods have these labels."""
    workloads = [resource for resource in resources if resource["kind"] in ("Deployment", "Job")]
    return [work for work in workloads if labels.items() <= work["spec"]["template"]["metadata"]["labels"].items()]


def spread(world):
    """Nodes that accept no pods must not count, and the pods that count must be the workload's own."""
    for where, workload, _ in every(world, "Deployment", "Job"):
        constraints = pod_of(workload)[0].get("topologySpreadConstraints", [])
        if not constraints:
            yield f"{where}: its pods are not spread over nodes"
        for constraint in constraints:
            key = constraint["topologyKey"]
            if constraint.get("nodeTaintsPolicy") != "Honor":
                yield f"{where}: spread by {key} counts tainted nodes; set nodeTaintsPolicy: Honor"
            if not selected([workload], constraint["labelSelector"]["matchLabels"]):
                yield f"{where}: spread by {key} counts other pods; compare its labelSelector with the template's labels"


def selectors(world):
    """Whatever selects pods selects those that are there."""
    kinds = ["Deployment", "Service", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy"]
    for where, resource, resources in every(world, *kinds):
        spec = resource["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        labels = selector if resource["kind"] == "Service" else selector["matchLabels"]
        if not selected(resources, labels):
            yield f"{where}: no pod has the labels that it selects, {labels}"
    for where, scaler, resources in every(world, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if f"{target['kind']} {target['name']}" not in map(name_of, resources):
            yield f"{where}: it scales {target['kind']} {target['name']}, which is not there"


def policy_ports(policy):
    return [port["port"] for rule in policy["spec"]["ingress"] for port in rule.get("ports", [])]


def ports(world):
    """Each port that is named exists, and the programs listen there."""
    for where, resource, resources in every(world, "Service", "PodMonitor", "NetworkPolicy", "Deployment"):
        spec = resource["spec"]
        named, owners = [], resources
        if resource["kind"] == "Service":
            named, owners = [port["targetPort"] for port in spec["ports"]], selected(resources, spec["selector"])
        elif resource["kind"] == "PodMonitor":
            named = [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]]
            owners = selected(resources, spec["selector"]["matchLabels"])
        elif resource["kind"] == "NetworkPolicy":
            named, owners = policy_ports(resource), selected(resources, spec["podSelector"]["matchLabels"])
        else:
            probes = [value for key, value in pod_of(resource)[1].items() if key.endswith("Probe")]
            named, owners = [probe["httpGet"]["port"] for probe in probes], [resource]
        for owner in owners:
            for port in named:
                if port not in ports_of(owner):
                    yield f"{where}: {name_of(owner)} has no port named {port}"
    for where, deployment, _ in every(world, "Deployment"):
        env, listening = pod_of(deployment)[2], ports_of(deployment)
        for port, variable, default in [("ws", "WS_ADDR", "0.0.0.0:8000"), ("admin", "WS_ADMIN_ADDR", "127.0.0.1:8001")]:
            addr = env.get(variable, default)
            if addr != f"0.0.0.0:{listening.get(port)}":
                yield f"{where}: {variable} is {addr}, and its port {port} is {listening.get(port)}"


def exposure(world):
    """The admin port is for probes and Prometheus, and the Service for those whom somebody admitted."""
    for where, deployment, resources in every(world, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        policies = [policy for policy in resources if policy["kind"] == "NetworkPolicy"
                    and selected([deployment], policy["spec"]["podSelector"]["matchLabels"])]
        if not policies:
            yield f"{where}: no NetworkPolicy selects {labels}"
        for rule in (rule for policy in policies for rule in policy["spec"]["ingress"]):
            named = [port["port"] for port in rule.get("ports", [])]
            if not named:
                yield f"{where}: a NetworkPolicy has a rule without ports, which opens all of them"
            if "admin" in named and not rule.get("from"):
                yield f"{where}: a NetworkPolicy opens the admin port to everyone; name Prometheus' pods in `from`"
        if policies and not any("ws" in policy_ports(policy) for policy in policies):
            yield f"{where}: no NetworkPolicy lets clients in on the port ws"
        if policies and not any("admin" in policy_ports(policy) for policy in policies):
            yield f"{where}: no NetworkPolicy lets Prometheus in on the port admin"
        # The Service has no other port than the public one, but that one must not answer /metrics either.
        if world["servers"][where.partition(":")[0]]["public"].get("/metrics") == 200:
            yield f"{where}: its public port answers /metrics; set WS_METRICS_ON to admin"
    for where, service, _ in every(world, "Service"):
        ranges = service["spec"].get("loadBalancerSourceRanges", [])
        if not ranges or any(network.endswith("/0") for network in ranges):
            yield f"{where}: it admits the whole Internet; set loadBalancerSourceRanges"
        if any(port["targetPort"] != "ws" for port in service["spec"]["ports"]):
            yield f"{where}: it publishes another port than ws"


def probes(world):
    """Each probe asks for its own path, and the server answers there."""
    paths = {"startupProbe": "/health", "readinessProbe": "/ready", "livenessProbe": "/health"}
    for where, deployment, _ in every(world, "Deployment"):
        container = pod_of(deployment)[1]
        answers = world["servers"][where.partition(":")[0]]["admin"]
        for probe, path in paths.items():
            get = container.get(probe, {}).get("httpGet")
            if get != {"path": path, "port": "admin"}:
                yield f"{where}: {probe} asks for {get}, not for {path} on the port admin"
            elif answers.get(path) != 200:
                yield f"{where}: an idle server answers {probe} at {path} with {answers.get(path)}, not with 200"


def drain(world):
    """A pod is killed only after its drain, and pods drain one after another."""
    for where, deployment, resources in every(world, "Deployment"):
        spec, container, env = pod_of(deployment)
        stop = container["lifecycle"]["preStop"]["sleep"]["seconds"] + seconds(env["WS_DRAIN_TIMEOUT"])
        if spec["terminationGracePeriodSeconds"] <= stop:
            yield f"{where}: preStop and drain take {stop:.0f} s; raise terminationGracePeriodSeconds above that"
        if deployment["spec"].get("minReadySeconds", 0) < stop:
            yield f"{where}: preStop and drain take {stop:.0f} s; raise minReadySeconds to that, or drains overlap"
        budget = one(resources, "PodDisruptionBudget")["spec"]
        if budget.get("maxUnavailable") != 1:
            yield f"{where}: a node drain evicts several pods at once; set maxUnavailable: 1 in its PodDisruptionBudget"
        if budget.get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
            yield f"{where}: full pods are not ready, and are evicted without regard to the budget; use IfHealthyBudget"


def size(world):
    """What a server may hold fits into its pod, and is what the autoscaler counts on."""
    for where, deployment, resources in every(world, "Deployment"):
        _, container, env = pod_of(deployment)
        server = world["servers"][where.partition(":")[0]]
        for unknown in sorted(set(env) - server["env"]):
            yield f"{where}: the server reads no {unknown}"
        most = int(env["WS_MAX_CONNECTIONS"])
        if server["limit"] != most:
            yield f"{where}: under a low descriptor limit the server holds {server['limit']}, not {most}: {server['said']}"
        needed = 1.2 * (most * (KERNEL_BYTES + SERVER_BYTES) + EMPTY_BYTES + quantity(env["WS_BUFFER_BUDGET"]))
        memory = quantity(container["resources"]["limits"]["memory"])
        if memory < needed:
            yield f"{where}: {most} connections need {needed / 2**20:.0f} MiB, not {memory / 2**20:.0f}"
        metric = one(resources, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]
        target = quantity(metric["target"]["averageValue"])
        if not 0.5 * most <= target <= 0.8 * most:
            yield f"{where}: its autoscaler adds pods at {target:.0f} connections of {most}; use 50% to 80%"
        name = metric["metric"]["name"]
        if name not in server["metrics"]:
            yield f"{where}: its autoscaler asks for {name}, which the server does not export"
        if name not in [rule["name"]["as"] for rule in world["adapter"]["rules"]["custom"]]:
            yield f"{where}: its autoscaler asks for {name}, which prometheus-adapter.yaml does not have"


def load(world):
    """The clients fit into their pods, have flags that the client knows, and connect to the Service."""
    services = {(s["metadata"]["name"], port["port"]) for _, s, _ in every(world, "Service") for port in s["spec"]["ports"]}
    for where, job, _ in every(world, "Job"):
        spec, container, env = pod_of(job)
        if job["spec"]["completions"] != job["spec"]["parallelism"]:
            yield f"{where}: not all clients run at the same time; set parallelism to completions"
        args = dict(arg.partition("=")[::2] for arg in container["args"][1:])
        if unknown := set(args) - world["client"]["flags"]:
            yield f"{where}: `client run` knows no {', '.join(sorted(unknown))}"
        given = {entry["name"] for entry in container["env"]}
        if unset := set(re.findall(r"\$\((\w+)\)", " ".join(args.values()))) - given:
            yield f"{where}: nothing sets {', '.join(sorted(unset))}"
        host, _, port = re.sub(r"^ws://|/.*", "", args["--url"]).partition(":")
        if (host, int(port)) not in services:
            yield f"{where}: no Service is named {host} and has port {port}"
        if args["--metrics-addr"] != f"0.0.0.0:{ports_of(job).get('metrics')}":
            yield f"{where}: --metrics-addr is {args['--metrics-addr']}, its port is {ports_of(job).get('metrics')}"
        connections = int(env["CONNECTIONS"])
        memory = quantity(container["resources"]["limits"]["memory"])
        needed = 1.2 * (connections * (KERNEL_BYTES + CLIENT_BYTES) + EMPTY_BYTES)
        if memory < needed:
            yield f"{where}: {connections} connections need {needed / 2**20:.0f} MiB"
        sysctls = {entry["name"]: entry["value"] for entry in spec["securityContext"]["sysctls"]}
        low, high = map(int, sysctls["net.ipv4.ip_local_port_range"].split())
        if connections > high - low + 1:
            yield f"{where}: {connections} connections need more than the {high - low + 1} ports of ip_local_port_range"


def placement(world):
    """Everything is in the namespace, unprivileged, with an image to replace; classes exist, and quotas suffice."""
    for overlay, resources in world["overlays"].items():
        for resource in resources:
            if resource["kind"] not in ("Namespace", "PriorityClass") and resource["metadata"].get("namespace") != "websockets":
                yield f"{overlay}: {name_of(resource)} is not in the namespace websockets"
    for where, workload, resources in every(world, "Deployment", "Job"):
        spec, container, _ = pod_of(workload)
        if not spec["securityContext"].get("runAsNonRoot"):
            yield f"{where}: it may run as root"
        if not container["securityContext"].get("readOnlyRootFilesystem"):
            yield f"{where}: its root file system can be written to"
        if not container["image"].startswith("registry.example.com/"):
            yield f"{where}: its image is {container['image']}, not a placeholder"
        priority = spec.get("priorityClassName")
        if priority and f"PriorityClass {priority}" not in map(name_of, resources):
            yield f"{where}: there is no PriorityClass {priority}"
    for where, quota, resources in every(world, "ResourceQuota"):
        # Of the servers: as many as the autoscaler starts, one that a rollout adds, and one that drains.
        servers = one(resources, "HorizontalPodAutoscaler")["spec"]["maxReplicas"] + 2
        clients = one(world["overlays"]["overlays/load-million"], "Job")
        pods = [(one(resources, "Deployment"), servers), (clients, clients["spec"]["parallelism"])]
        for resource, most in quota["spec"]["hard"].items():
            if resource == "services.loadbalancers":
                continue
            group, _, kind = resource.rpartition(".")
            need = sum(n * (quantity(pod_of(p)[1]["resources"][group][kind]) if group else 1) for p, n in pods)
            if quantity(most) < need:
                yield f"{where}: servers and load need {need:.0f} of {resource}, and it allows {quantity(most):.0f}"


def faults(rules, world):
    """What all rules say."""
    for rule in rules:
        try:
            yield from rule(world)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield f"{rule.__name__}: a field is missing or malformed: {error!r}"


MANIFESTS = [spread, selectors, ports, exposure, probes, drain, size, load, placement]
