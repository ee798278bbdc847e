# Several servers share one address: a network load balancer, which forwards packets and preserves the clients' addresses.

locals {
  # What the clients connect to.
  host = local.is_fleet ? one(aws_lb.balancer[*].dns_name) : aws_instance.server[0].private_ip
}

resource "aws_security_group" "balancer" {
  count = local.is_fleet ? 1 : 0

  name_prefix = "websockets-balancer-"
  description = "The balancer of the echo servers"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_vpc_security_group_ingress_rule" "balancer_websocket" {
  count = local.is_fleet ? 1 : 0

  security_group_id            = aws_security_group.balancer[0].id
  description                  = "WebSocket from the clients"
  ip_protocol                  = "tcp"
  from_port                    = 8000
  to_port                      = 8000
  referenced_security_group_id = aws_security_group.client.id
}

resource "aws_vpc_security_group_egress_rule" "balancer_websocket" {
  count = local.is_fleet ? 1 : 0

  security_group_id            = aws_security_group.balancer[0].id
  description                  = "WebSocket and health checks to the servers"
  ip_protocol                  = "tcp"
  from_port                    = 8000
  to_port                      = 8000
  referenced_security_group_id = aws_security_group.server.id
}

resource "aws_lb" "balancer" {
  count = local.is_fleet ? 1 : 0

  name_prefix        = "ws-"
  internal           = true
  load_balancer_type = "network"
  security_groups    = [aws_security_group.balancer[0].id]
  subnets            = [sort(data.aws_subnets.default.ids)[0]]
}

resource "aws_lb_target_group" "servers" {
  count = local.is_fleet ? 1 : 0

  name_prefix          = "ws-"
  port                 = 8000
  protocol             = "TCP"
  vpc_id               = data.aws_vpc.default.id
  preserve_client_ip   = "true"
  deregistration_delay = "60"

  # 503 while a server is full; a draining one no longer listens.
  health_check {
    protocol            = "HTTP"
    path                = "/ready"
    port                = "traffic-port"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  # A server that is full, or drains, keeps its connections.
  target_health_state {
    enable_unhealthy_connection_termination = false
  }
}

resource "aws_lb_target_group_attachment" "server" {
  count = local.is_fleet ? var.servers : 0

  target_group_arn = aws_lb_target_group.servers[0].arn
  target_id        = aws_instance.server[count.index].id
}

resource "aws_lb_listener" "websocket" {
  count = local.is_fleet ? 1 : 0

  load_balancer_arn = aws_lb.balancer[0].arn
  port              = 8000
  protocol          = "TCP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.servers[0].arn
  }
}
