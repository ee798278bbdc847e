output "server" {
  description = "The server's public address, for SSH."
  value       = aws_instance.server.public_ip
}

output "clients" {
  description = "The clients' public addresses, for SSH."
  value       = aws_instance.client[*].public_ip
}

output "start" {
  description = "The commands to run, in order."
  value       = <<-TEXT
    # Wait until every machine has built its program.
    for host in ${join(" ", concat([aws_instance.server.public_ip], aws_instance.client[*].public_ip))}; do
      ssh admin@$host cloud-init status --wait
    done
    # Check the server's limits.
    ssh admin@${aws_instance.server.public_ip} client doctor --connections ${format("%d", var.connections)} --stage ${var.stage}
    # Start all clients at the same moment, one minute from now, with ${format("%d", local.per_client)} connections each.
    at=$(date -u -d '+60 seconds' +%Y-%m-%dT%H:%M:%SZ)
    for host in ${join(" ", aws_instance.client[*].public_ip)}; do
      ssh admin@$host client run --url ws://${aws_instance.server.private_ip}:8000/echo --connections ${format("%d", local.per_client)} \
        --connect-rate 2000 --rate 1000 --duration 60s --start-at $at --quiet --json - > $host.json &
    done; wait
    # Merge the results.
    cargo run --release -p client -- merge *.json
    # Read the server's metrics, memory included.
    ssh admin@${aws_instance.server.public_ip} curl -s http://127.0.0.1:8001/metrics
    # Destroy all machines, and stop paying for them.
    terraform destroy
  TEXT
}
