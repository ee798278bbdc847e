output "server" {
  description = "The server's public address, for SSH."
  value       = aws_instance.server.public_ip
}

output "clients" {
  description = "The clients' public addresses, for SSH."
  value       = aws_instance.client[*].public_ip
}

output "start" {
  description = "What to run, in this order."
  value       = <<-TEXT
    # Wait until all have built what they run.
    for host in ${join(" ", concat([aws_instance.server.public_ip], aws_instance.client[*].public_ip))}; do
      ssh admin@$host cloud-init status --wait
    done
    # What the server lacks for this, if anything.
    ssh admin@${aws_instance.server.public_ip} client doctor --connections ${format("%d", var.connections)} --stage ${var.stage}
    # All clients begin in the same moment, a minute from now, and hold ${format("%d", local.per_client)} connections each.
    at=$(date -u -d '+60 seconds' +%Y-%m-%dT%H:%M:%SZ)
    for host in ${join(" ", aws_instance.client[*].public_ip)}; do
      ssh admin@$host client run --url ws://${aws_instance.server.private_ip}:8000/echo --connections ${format("%d", local.per_client)} \
        --connect-rate 2000 --rate 1000 --duration 60s --start-at $at --quiet --json - > $host.json &
    done; wait
    # One result of all.
    cargo run --release -p client -- merge *.json
    # The server's metrics, and its memory.
    ssh admin@${aws_instance.server.public_ip} curl -s http://127.0.0.1:8001/metrics
    # An end to all of it, and to what it costs.
    terraform destroy
  TEXT
}
