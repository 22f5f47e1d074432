/**
 * What the plugins and cnictl say to overlayd, and what it answers: one line of JSON each way over a unix socket, one
 * request per connection.
 *
 *     -> {"version":1,"verb":"join","network":"web","containerId":"c1","ifname":"eth0"}
 *     <- {"answer":{"vni":4096,"port":4789,"local":"192.0.2.1","mtu":0}}
 *     <- {"error":{"code":7,"msg":"...","details":"..."}}
 */

/** Raised when a request or an answer changes so that an older side would misread it. */
export const AGENT_PROTOCOL_VERSION = 1

/** Where the agent listens unless told otherwise. */
export const DEFAULT_AGENT_SOCKET = '/run/cnikit/overlayd.sock'

/** Releases that the agent was not there to take, one file each. */
export const SPOOL_DIRECTORY = '/var/lib/cnikit/overlayd/spool'

/** One interface of one container in one network. */
export interface AgentAttachment {
  readonly network: string
  readonly containerId: string
  readonly ifname: string
}

export interface JoinRequest extends AgentAttachment {
  /** What the configuration fixes; absent: as the network has it, or as the agent chooses for a new network. */
  readonly vni?: number
  readonly port?: number
  /** 0 or absent: derived from the underlay on each host. */
  readonly mtu?: number
}

export interface JoinAnswer {
  readonly vni: number
  readonly port: number
  /** This host's tunnel address. */
  readonly local: string
  /** The network's MTU; 0: derived from the underlay. */
  readonly mtu: number
}

export interface ServicePort {
  /** A port or a range: 8080, "8000-8010". */
  readonly published: number | string
  readonly target: number | string
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  /** Addresses of hosts on which it is published; none: all. */
  readonly hostAddresses?: readonly string[]
  readonly mode: 'mesh' | 'local'
}

/** A service that the attachment is a replica of. */
export interface ServiceMembership {
  readonly name: string
  readonly ports: readonly ServicePort[]
  readonly affinity: 'none' | 'client'
  readonly virtualAddress?: string
}

export interface PublishRequest extends AgentAttachment {
  readonly mac: string
  /** With prefix lengths: "10.0.0.5/24". */
  readonly addresses: readonly string[]
  /** The runtime asked for these addresses by name: a dead node's claim to them gives way. */
  readonly explicit?: boolean
  readonly services?: readonly ServiceMembership[]
  /** The container's on the gateway bridge, without prefix lengths: where ports of mode local lead. */
  readonly gatewayAddresses?: readonly string[]
}

export interface CheckRequest extends AgentAttachment {
  /** What the container's interface has; what is absent is not compared. */
  readonly mac?: string
  readonly addresses?: readonly string[]
}

export interface GcRequest {
  readonly network: string
  readonly validAttachments: readonly { readonly containerId: string; readonly ifname: string }[]
}

/** A range of an address pool, and how long the prefixes are of the blocks into which it is divided. */
export interface BlockRange {
  readonly subnet: string
  readonly start: string
  readonly end: string
  readonly gateway: string
  readonly blockLength: number
}

export interface BlockRequest extends AgentAttachment {
  readonly pool: string
  /** The plugin's `dataDir`, where the answer is to be seen as well; has to be the agent's. */
  readonly dataDirectory: string
  /** All range sets of the network, and the number of the one that an address is wanted from. */
  readonly rangeSets: readonly (readonly BlockRange[])[]
  readonly rangeSet: number
  /** Blocks that the plugin knows, and which have no address to give. */
  readonly full: readonly string[]
  /** An address that has to be in the block; one in another node's block is borrowed. */
  readonly wanted?: string
  readonly coolDownSeconds: number
  /** STATUS: nothing is taken, the answer says what could be. */
  readonly look?: boolean
}

export interface BlockAnswer {
  /** The block, or the borrowed address. */
  readonly held: string
}

export interface DrainRequest extends AgentAttachment {
  /** False takes it back. */
  readonly draining: boolean
}

/** A replica, as cnictl shows it. */
export interface ServiceReplica extends AgentAttachment {
  readonly node: string
  readonly addresses: readonly string[]
  /** On the gateway bridge of its host. */
  readonly gatewayAddresses: readonly string[]
  readonly services: readonly ServiceMembership[]
  readonly draining: boolean
  /** Whether its host's agent is there. */
  readonly alive: boolean
}

/** A published port as this host is to serve it. */
export interface ServedPort {
  readonly service: string
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly published: number
  readonly mode: 'mesh' | 'local'
  readonly affinity: 'none' | 'client'
  /** Addresses of hosts on which alone it is published; none: all. */
  readonly hostAddresses: readonly string[]
  /** Replicas that take new connections, as this host reaches them: with mode local on the gateway bridge. */
  readonly targets: readonly { readonly address: string; readonly port: number }[]
}

export interface ServicesAnswer {
  readonly replicas: readonly ServiceReplica[]
  readonly ports: readonly ServedPort[]
  /** Chains of other programs that drop what is forwarded unless they know it: `ip filter FORWARD`. */
  readonly foreignDrops: readonly string[]
}

/** A network that this host is in, as etcd has it: what the kernel is to have of it. */
export interface KnownNetwork {
  readonly network: string
  readonly vni: number
  readonly port: number
  /** 0: derived from the underlay. */
  readonly mtu: number
  /** The other hosts that are in it, by tunnel address. */
  readonly hosts: readonly { readonly address: string; readonly node: string | undefined }[]
  /** Containers on other hosts, one for each address; of two with one MAC the later has it. */
  readonly endpoints: readonly { readonly address: string; readonly mac: string; readonly host: string }[]
}

export interface NetworksAnswer {
  readonly node: string
  /** This host's tunnel address. */
  readonly local: string
  readonly networks: readonly KnownNetwork[]
}

/** Request and answer of every verb. A module of the agent that serves another verb adds its line here. */
export interface AgentVerbs {
  /** Before any link is built: the network's numbers, this host a member of it. */
  join: { request: JoinRequest; answer: JoinAnswer }
  /** The endpoint, and its services, known to all hosts; answered when committed and programmed here. */
  publish: { request: PublishRequest; answer: Record<string, never> }
  /** The opposite of join and publish; succeeds also for what is unknown. */
  withdraw: { request: AgentAttachment; answer: Record<string, never> }
  /** @throws code 105 */
  check: { request: CheckRequest; answer: Record<string, never> }
  /** Withdraws this host's attachments of the network that are not listed. */
  gc: { request: GcRequest; answer: { removed: readonly AgentAttachment[] } }
  /** A block of addresses for this node (ipam/cluster). @throws code 102 when none is left, 103 when the address is taken */
  block: { request: BlockRequest; answer: BlockAnswer }
  /** A replica on this host takes no new connections, and keeps those it has. @throws code 3 for one without services */
  drain: { request: DrainRequest; answer: Record<string, never> }
  /** All replicas of services, of the whole cluster. */
  services: { request: Record<string, never>; answer: ServicesAnswer }
  /** What the agent knows of this host's networks. */
  networks: { request: Record<string, never>; answer: NetworksAnswer }
  /** @throws code 50 when join would fail */
  status: { request: { network?: string }; answer: Record<string, never> }
}

export type AgentVerb = keyof AgentVerbs
export type AgentRequest<V extends AgentVerb> = AgentVerbs[V]['request']
export type AgentAnswer<V extends AgentVerb> = AgentVerbs[V]['answer']

/** A request as it is sent. */
export type RequestLine<V extends AgentVerb = AgentVerb> = AgentRequest<V> & { version: number; verb: V }

/** An answer as it is sent. */
export type AnswerLine =
  | { readonly answer: unknown }
  | { readonly error: { readonly code: number; readonly msg: string; readonly details?: string } }
