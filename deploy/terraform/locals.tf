locals {
  package = [
    "stage1-thread-per-conn",
    "stage2-task-per-conn",
    "stage3-mio-epoll",
    "stage4-zero-buffer",
  ][var.stage - 1]
  per_client = ceil(var.connections / var.clients)

  # A balancer that hashes addresses fills servers unevenly: a fleet is filled to 70%, as DEPLOYING.md says.
  is_fleet   = var.servers > 1
  per_server = local.is_fleet ? ceil(var.connections / var.servers / 0.7) : var.connections

  # One page per connection with data in flight, and at least the kernel's default on a machine of 16 GB.
  tcp_pages = max(local.per_server, 500000)

  server = templatefile("${path.module}/server.yaml.tftpl", {
    repository_url = var.repository_url
    revision       = var.revision
    package        = local.package
    unit           = indent(6, file("${path.module}/../systemd/echo@.service"))
    connections    = format("%d", local.per_server)
    threads        = format("%d", local.per_server + 100000)
    maps           = format("%d", local.per_server * 4 + 100000)
    tcp_mem        = format("%d %d %d", floor(local.tcp_pages / 2), floor(local.tcp_pages * 3 / 4), local.tcp_pages)
  })
  client = templatefile("${path.module}/client.yaml.tftpl", {
    repository_url = var.repository_url
    revision       = var.revision
  })
}
