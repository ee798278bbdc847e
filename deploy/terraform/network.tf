# Only the clients can reach the servers, of a fleet only through its balancer, and only the admin's addresses can reach SSH. Outbound HTTP and HTTPS download
# the build dependencies.

resource "aws_security_group" "server" {
  name_prefix = "websockets-server-"
  description = "The echo servers"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_security_group" "client" {
  name_prefix = "websockets-client-"
  description = "The load clients"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_vpc_security_group_ingress_rule" "server_websocket" {
  security_group_id            = aws_security_group.server.id
  description                  = "WebSocket from the clients, or the balancer"
  ip_protocol                  = "tcp"
  from_port                    = 8000
  to_port                      = 8000
  referenced_security_group_id = local.is_fleet ? aws_security_group.balancer[0].id : aws_security_group.client.id
}

resource "aws_vpc_security_group_egress_rule" "client_websocket" {
  security_group_id            = aws_security_group.client.id
  description                  = "WebSocket to the server, or the balancer"
  ip_protocol                  = "tcp"
  from_port                    = 8000
  to_port                      = 8000
  referenced_security_group_id = local.is_fleet ? aws_security_group.balancer[0].id : aws_security_group.server.id
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = { server = aws_security_group.server.id, client = aws_security_group.client.id }

  security_group_id = each.value
  description       = "SSH from the admin"
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = var.admin_cidr
}

resource "aws_vpc_security_group_egress_rule" "http" {
  for_each = { server = aws_security_group.server.id, client = aws_security_group.client.id }

  security_group_id = each.value
  description       = "Packages"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = { server = aws_security_group.server.id, client = aws_security_group.client.id }

  security_group_id = each.value
  description       = "Sources, the toolchain and crates"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}
