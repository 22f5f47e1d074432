/** What the agent writes into etcd, by key; see etcd/keys.ts. */

import type { AgentAttachment, ServiceMembership } from '../lib/overlay/agent-protocol.ts'

/** nodes/<node>, under the node's lease. */
export interface NodeRecord {
  /** Tunnel address. */
  readonly address: string
  readonly hostname: string
  readonly version: string
  /** ISO 8601. */
  readonly started: string
}

/** networks/<network> */
export interface NetworkRecord {
  readonly vni: number
  readonly port: number
  /** 0: derived from the underlay. */
  readonly mtu: number
  readonly created: string
}

/** members/<network>/<node>, under the node's lease. */
export interface MemberRecord {
  readonly address: string
}

/** endpoints/<network>/<address>: what the other hosts program. */
export interface EndpointRecord {
  readonly node: string
  /** The node's tunnel address. */
  readonly host: string
  readonly mac: string
  readonly containerId: string
  readonly ifname: string
}

/** alive/<node>, under a lease of `deadAfter` seconds: while it is there, nobody touches what is the node's. */
export interface AliveRecord {
  readonly node: string
}

/** attachments/<node>/<network>/<containerId>/<ifname>: the node's own list. */
export interface AttachmentRecord extends AgentAttachment {
  readonly node: string
  readonly host: string
  readonly mac: string
  /** With prefix lengths. */
  readonly addresses: readonly string[]
  readonly services: readonly ServiceMembership[]
  readonly gatewayAddresses: readonly string[]
}
