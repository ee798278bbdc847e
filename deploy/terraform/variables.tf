variable "region" {
  description = "The region of the machines."
  type        = string
  default     = "eu-central-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "Not the name of a region, such as eu-central-1."
  }
}

variable "admin_cidr" {
  description = "The addresses that may log in by SSH: yours, such as 203.0.113.7/32."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.admin_cidr)) && try(tonumber(split("/", var.admin_cidr)[1]), 0) >= 16
    error_message = "Must be an IPv4 range of /16 or narrower, such as 203.0.113.7/32."
  }
}

variable "ssh_public_key" {
  description = "The public key to log in with: the content of ~/.ssh/id_ed25519.pub."
  type        = string

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-[a-z0-9-]+) [A-Za-z0-9+/=]+", var.ssh_public_key))
    error_message = "Must be the text of a public key, which starts with its type, such as ssh-ed25519."
  }
}

variable "repository_url" {
  description = "The URL from which the machines clone this repository, without a login."
  type        = string

  validation {
    condition     = can(regex("^https://[A-Za-z0-9._~/-]+$", var.repository_url))
    error_message = "Must be an https:// address that git can clone, without a user or a token in it."
  }
}

variable "revision" {
  description = "The commit, tag or branch to build."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.revision)) && !startswith(var.revision, "-")
    error_message = "Not a commit, tag or branch."
  }
}

variable "stage" {
  description = "The stage that the servers run, 1 to 4."
  type        = number
  default     = 4

  validation {
    condition     = contains([1, 2, 3, 4], var.stage)
    error_message = "Must be 1, 2, 3 or 4."
  }
}

variable "connections" {
  description = "Connections to open, all clients together."
  type        = number
  default     = 1000000

  validation {
    condition     = var.connections >= 1 && var.connections <= 10000000 && floor(var.connections) == var.connections
    error_message = "Must be a whole number from 1 to 10000000."
  }
}

variable "servers" {
  description = "Server machines. Several are behind a network load balancer."
  type        = number
  default     = 1

  validation {
    condition     = var.servers >= 1 && var.servers <= 500 && floor(var.servers) == var.servers
    error_message = "Must be a whole number from 1 to 500."
  }
}

variable "clients" {
  description = "Client machines. Each connects from one address, which has 64,512 ports."
  type        = number
  default     = 20

  validation {
    condition     = var.clients >= 1 && floor(var.clients) == var.clients && var.connections <= var.clients * 60000
    error_message = "Must be a whole number, at least one per 60000 connections."
  }
}

variable "server_type" {
  description = "The servers' instance type. A million connections take 4.1 GB of its memory at stage 4, 9.8 GB at stage 2."
  type        = string
  default     = "m7i.xlarge"

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.server_type))
    error_message = "Not an instance type, such as m7i.xlarge."
  }
}

variable "client_type" {
  description = "The clients' instance type. It must have the processor architecture of the image, x86-64."
  type        = string
  default     = "c7i.large"

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.client_type))
    error_message = "Not an instance type, such as c7i.large."
  }
}
