"""Whether Prometheus finds the servers, and whether alerts and dashboard ask for what these export.

Each rule takes the world that `../check` collects and yields its faults, one line each. `mutations.py` breaks each rule.
"""

import re

from rules import every, policy_ports

# Of discovery, not of the programs.
TARGET_LABELS = {"job", "instance", "namespace", "pod"}
# What Prometheus itself has.
OWN_METRICS = {"up", "ALERTS"}
KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


def queries(world):
    """Every query, as its place and its text."""
    for group in world["alerts"]["groups"]:
        for rule in group["rules"]:
            yield f"alerts.yml, {rule['alert']}", rule["expr"]
    for panel in world["dashboard"]["panels"]:
        for target in panel.get("targets", []):
            yield f"dashboard, {panel['title']}", target["expr"]
    for variable in world["dashboard"]["templating"]["list"]:
        if variable["type"] != "query":
            continue
        # label_values(metric, label)
        yield f"dashboard, variable {variable['name']}", variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0]
    for rule in world["adapter"]["rules"]["custom"]:
        yield "prometheus-adapter.yaml", rule["seriesQuery"]


def selections(query):
    """The metrics of a query, each with its matchers: label, operator, value."""
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", query):
        yield name, re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', matchers)


def metrics(query):
    """All names in a query that are neither functions, keywords nor labels."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)', " ", query)
    return set(re.findall(r"\b[A-Za-z_:][\w:]*\b(?!\s*\()", bare)) - KEYWORDS


def exported(world):
    """The metrics of servers and client: each metric's labels, each label's values."""
    servers = [server["metrics"] for server in world["servers"].values()]
    return {name: labels for family in [*servers, world["client"]["metrics"]] for name, labels in family.items()}


def names(world):
    """Queries ask for metrics, labels and values that the programs export."""
    known = exported(world)
    for where, query in queries(world):
        for name in sorted(metrics(query) - known.keys() - OWN_METRICS):
            yield f"{where}: no program exports {name}"
        for name, matchers in selections(query):
            labels = known.get(name, {})
            for label, operator, value in matchers:
                if label not in labels and label not in TARGET_LABELS:
                    yield f"{where}: {name} has no label {label}"
                elif label in labels and value[:1] not in ("", "$") and (absent := set(value.split("|")) - labels[label]):
                    yield f"{where}: no program exports {name} with {label}={', '.join(sorted(absent))}"
        grouped = {label.strip() for labels in re.findall(r"\bby\s*\(([^)]*)\)", query) for label in labels.split(",")}
        available = TARGET_LABELS.union({"le"}, *(known.get(name, {}) for name in metrics(query)))
        for label in sorted(grouped - available):
            yield f"{where}: it groups by {label}, which its metrics do not have"
    for group in world["alerts"]["groups"]:
        for rule in group["rules"]:
            labels = TARGET_LABELS.union(*(known.get(name, {}) for name in metrics(rule["expr"])))
            for label in re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())):
                if label not in labels:
                    yield f"alerts.yml, {rule['alert']}: its text names the label {label}, which its metrics do not have"


def job_of(monitor):
    """The job label of a PodMonitor's targets."""
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    for relabeling in endpoint.get("relabelings", []):
        if relabeling.get("targetLabel") == "job":
            return relabeling["replacement"]
    return f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"


def jobs(world):
    """Targets have the same job, however they are found, and queries select that job."""
    sources = {file: {scrape["job_name"] for scrape in world[file]["scrape_configs"]} for file in ["prometheus.yml", "fleet.yml"]}
    sources["the PodMonitors"] = {job_of(monitor) for _, monitor, _ in every(world, "PodMonitor")}
    everywhere = set.intersection(*sources.values())
    for source, names in sources.items():
        for job in sorted(names - everywhere):
            others = [other for other in sources if job not in sources[other]]
            yield f"{source}: the job {job} is missing in {' and '.join(others)}"
    variables = {variable["name"]: variable for variable in world["dashboard"]["templating"]["list"]}
    for where, query in queries(world):
        for name, matchers in selections(query):
            given = {label: value for label, _, value in matchers}
            job = given.get("job", "")
            for variable in sorted(value[1:] for value in given.values() if value.startswith("$")):
                if variable not in variables:
                    yield f"{where}: the dashboard has no variable {variable}"
            if job and job != "$job" and job not in everywhere:
                yield f"{where}: it selects the job {job}; the jobs are {', '.join(sorted(everywhere))}"
        selected = {name for name, matchers in selections(query) if any(label == "job" for label, _, _ in matchers)}
        for name in sorted(metrics(query) - selected):
            if name == "up" or name.startswith("process_"):
                yield f"{where}: {name} without a job is every program's"
    start = variables["job"]["current"]["value"] if "job" in variables else None
    if start and start not in everywhere:
        yield f"dashboard, variable job: it starts with {start}; the jobs are {', '.join(sorted(everywhere))}"


def operator(world):
    """The operator's Prometheus selects the PodMonitors and the rules, and these are those of alerts.yml."""
    for where, rule, _ in every(world, "PrometheusRule"):
        if rule["spec"] != world["alerts"]:
            yield f"{where}: it differs from deploy/prometheus/alerts.yml; run `deploy/kubernetes/check --write-rules`"
    for where, _, resources in every(world, "Deployment"):
        if not any(resource["kind"] == "PrometheusRule" for resource in resources):
            yield f"{where}: there is no PrometheusRule"
    releases = {}
    for where, resource, _ in every(world, "PodMonitor", "PrometheusRule"):
        release = resource["metadata"].get("labels", {}).get("release")
        if release is None:
            yield f"{where}: without a label `release` the usual Prometheus does not select it"
        releases.setdefault(release, where)
    if len(releases.keys() - {None}) > 1:
        yield f"{' and '.join(releases.values())} have different labels `release`"


def reach(world):
    """A NetworkPolicy admits Prometheus to each port that it scrapes."""
    for where, monitor, resources in every(world, "PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            policies = [resource for resource in resources if resource["kind"] == "NetworkPolicy"
                        and resource["spec"]["podSelector"] == monitor["spec"]["selector"]]
            if not any(endpoint["port"] in policy_ports(policy) for policy in policies):
                yield f"{where}: no NetworkPolicy lets Prometheus in on the port {endpoint['port']}"


MONITORING = [names, jobs, operator, reach]
