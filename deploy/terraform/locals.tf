locals {
  package = [
    "stage1-thread-per-conn",
    "stage2-task-per-conn",
    "stage3-mio-epoll",
    "stage4-zero-buffer",
  ][var.stage - 1]
  per_client = ceil(var.connections / var.clients)

  # One page per connection with data in flight, and at least the kernel's default on a machine of 16 GB.
  tcp_pages = max(var.connections, 500000)

  server = templatefile("${path.module}/server.yaml.tftpl", {
    repository_url = var.repository_url
    revision       = var.revision
    package        = local.package
    connections    = format("%d", var.connections)
    threads        = format("%d", var.connections + 100000)
    maps           = format("%d", var.connections * 4 + 100000)
    tcp_mem        = format("%d %d %d", floor(local.tcp_pages / 2), floor(local.tcp_pages * 3 / 4), local.tcp_pages)
  })
  client = templatefile("${path.module}/client.yaml.tftpl", {
    repository_url = var.repository_url
    revision       = var.revision
  })
}
