data "aws_ami" "debian" {
  most_recent = true
  # Debian's account.
  owners = ["136693071363"]

  filter {
    name   = "name"
    values = ["debian-13-amd64-*"]
  }
}

data "aws_vpc" "default" {
  default = true
}

# One subnet for all machines: traffic between zones is slower, and is billed.
data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }

  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

resource "aws_key_pair" "admin" {
  key_name_prefix = "websockets-"
  public_key      = var.ssh_public_key
}

resource "aws_instance" "server" {
  count = var.servers

  ami                         = data.aws_ami.debian.id
  instance_type               = var.server_type
  subnet_id                   = sort(data.aws_subnets.default.ids)[0]
  vpc_security_group_ids      = [aws_security_group.server.id]
  associate_public_ip_address = true
  key_name                    = aws_key_pair.admin.key_name
  user_data                   = local.server
  user_data_replace_on_change = true

  metadata_options {
    http_tokens = "required"
  }

  root_block_device {
    volume_size = 16
    volume_type = "gp3"
    encrypted   = true
  }

  tags = {
    Name = "websockets-server-${count.index}"
  }
}

resource "aws_instance" "client" {
  count = var.clients

  ami                         = data.aws_ami.debian.id
  instance_type               = var.client_type
  subnet_id                   = sort(data.aws_subnets.default.ids)[0]
  vpc_security_group_ids      = [aws_security_group.client.id]
  associate_public_ip_address = true
  key_name                    = aws_key_pair.admin.key_name
  user_data                   = local.client
  user_data_replace_on_change = true

  metadata_options {
    http_tokens = "required"
  }

  root_block_device {
    volume_size = 16
    volume_type = "gp3"
    encrypted   = true
  }

  tags = {
    Name = "websockets-client-${count.index}"
  }
}
