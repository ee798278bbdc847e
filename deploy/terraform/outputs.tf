output "servers" {
  description = "The servers' public addresses, for SSH."
  value       = aws_instance.server[*].public_ip
}

output "clients" {
  description = "The clients' public addresses, for SSH."
  value       = aws_instance.client[*].public_ip
}

output "url" {
  description = "The URL that the clients load: the server's, or the balancer's."
  value       = "ws://${local.host}:8000/echo"
}

output "start" {
  description = "The commands to run, in order."
  value       = <<-TEXT
    # Wait until every machine has built its program.
    servers="${join(" ", aws_instance.server[*].public_ip)}"
    clients="${join(" ", aws_instance.client[*].public_ip)}"
    for host in $servers $clients; do
      ssh admin@$host cloud-init status --wait
    done
    # Check the servers' limits.
    for host in $servers; do
      ssh admin@$host client doctor --connections ${format("%d", local.per_server)} --stage ${var.stage}
    done
    # Start all clients at the same moment, one minute from now, with ${format("%d", local.per_client)} connections each.
    at=$(date -u -d '+60 seconds' +%Y-%m-%dT%H:%M:%SZ)
    for host in $clients; do
      ssh admin@$host client run --url ws://${local.host}:8000/echo --connections ${format("%d", local.per_client)} \
        --connect-rate 2000 --rate 1000 --duration 60s --start-at $at --quiet --json - > $host.json &
    done; wait
    # Merge the results.
    cargo run --release -p client -- merge *.json
    # Read the servers' metrics, memory included.
    for host in $servers; do ssh admin@$host curl -s http://127.0.0.1:8001/metrics; done
    # Destroy all machines, and stop paying for them.
    terraform destroy
  TEXT
}
