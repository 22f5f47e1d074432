/**
 * The shapes of the CNI protocol. Inside cnikit a result always has the form of version 1.1.0; results/ converts at
 * the edge, on the way in (prevResult, a delegate's answer) and on the way out.
 */

/** Newest last. @see SPEC 1.1.0, "Version history" */
export const cniVersions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
export type CniVersion = (typeof cniVersions)[number]

export const commands = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const
export type Command = (typeof commands)[number]

export interface Interface {
  name: string
  mac?: string
  /** Path of the network namespace; absent for a link of the host. */
  sandbox?: string
  mtu?: number
  socketPath?: string
  pciID?: string
}

export interface IpConfig {
  /** Index into `interfaces`; absent in the result of an IPAM plugin. */
  interface?: number
  /** An address with its prefix length: "10.1.0.5/16". */
  address: string
  gateway?: string
}

export interface Route {
  dst: string
  gw?: string
  mtu?: number
  advmss?: number
  priority?: number
  table?: number
  scope?: number
}

export interface Dns {
  nameservers?: string[]
  domain?: string
  search?: string[]
  options?: string[]
}

export interface Result {
  interfaces?: Interface[]
  ips?: IpConfig[]
  routes?: Route[]
  dns?: Dns
}

/** The keys that every network configuration has; a plugin's own come in addition. */
export interface NetworkConfig {
  cniVersion: CniVersion
  name: string
  type: string
  ipam?: { readonly type?: string; readonly [key: string]: unknown }
  dns?: Dns
  args?: { readonly cni?: Readonly<Record<string, unknown>>; readonly [key: string]: unknown }
  runtimeConfig?: Readonly<Record<string, unknown>>
  capabilities?: Readonly<Record<string, boolean>>
  readonly [key: string]: unknown
}

export interface AttachmentId {
  readonly containerId: string
  readonly ifname: string
}

/** What every verb is given. */
export interface NetworkRequest {
  readonly command: Command
  /** The version that the configuration names; answers have its form. */
  readonly cniVersion: CniVersion
  /** The network's name. */
  readonly network: string
  /** The configuration as JSON.parse gives it, keys as they were written. A plugin reads it through its validator. */
  readonly config: NetworkConfig
  /** Standard input as it came, for delegates. */
  readonly stdin: string
  /** Directories of CNI_PATH. */
  readonly path: readonly string[]
  /** The whole environment, for delegates and for programs of the host. */
  readonly environment: Readonly<Record<string, string>>
  /** Plugins of this same executable that CNI_PATH leads to: delegate.ts calls them as functions. */
  readonly builtins: ReadonlyMap<string, Plugin>
}

/** ADD, DEL and CHECK. */
export interface AttachmentRequest extends NetworkRequest, AttachmentId {
  /** Path of the container's network namespace. Only DEL, and a plugin of the host's own, may have none: "". */
  readonly netns: string
  /** CNI_ARGS, IgnoreUnknown included. */
  readonly args: ReadonlyMap<string, string>
  /** The result of the plugin before this one in the chain (ADD), or the final one of ADD (DEL, CHECK). */
  readonly prevResult: Result | undefined
}

export interface GcRequest extends NetworkRequest {
  /** `cni.dev/valid-attachments`. Absent means that nobody says what is valid, and nothing may be removed. */
  readonly validAttachments: readonly AttachmentId[] | undefined
}

/**
 * What a plugin does with the namespace that CNI_NETNS names, and so what may stand there on ADD and CHECK (DEL takes
 * one that is gone):
 * - "container": it enters it. A network namespace, and not the plugin's own.
 * - "any": it never enters it, as an IPAM plugin. Anything but the plugin's own namespace.
 * - "own": it works on the plugin's own namespace, which is the host's. That one, or none.
 */
export type NetnsUse = 'container' | 'any' | 'own'

/**
 * A plugin. Verbs throw CniError, or any other error, which the edge turns into one.
 * A verb must refuse what it can refuse before it changes anything.
 */
export interface Plugin {
  readonly name: string
  /** One sentence, shown when the executable is run without CNI_COMMAND. */
  readonly about: string
  readonly supportedVersions: readonly CniVersion[]
  /**
   * Keys of CNI_ARGS that the plugin reads. Others are then refused, unless IgnoreUnknown is set or they are well known.
   * Absent: the plugin does not look at CNI_ARGS, and anything may stand there.
   */
  readonly arguments?: readonly string[]
  /** Default: "container". */
  readonly netns?: NetnsUse
  add(request: AttachmentRequest): Result
  del(request: AttachmentRequest): void
  check(request: AttachmentRequest): void
  gc(request: GcRequest): void
  status(request: NetworkRequest): void
}
