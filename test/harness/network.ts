/** A network on a test's host and the attachments to it, driven as a runtime drives them: DEL and CHECK get ADD's result. */

import type { Child } from './children.ts'
import { type Outcome, programPath } from './execute.ts'
import type { Host } from './host.ts'
import type { NetworkNamespace } from './namespace.ts'
import { goPluginDirectory, pluginDirectory } from './paths.ts'
import { type Answer, answerOf, mustRunPlugin, type PluginOptions, runPlugin, startPlugin } from './plugin.ts'

/** The subnets that tests use when they do not care. */
export const subnets = { ipv4: '10.88.0.0/24', ipv6: 'fd00:88::/64' } as const
/** The gateways that follow from them. */
export const gateways = { ipv4: '10.88.0.1', ipv6: 'fd00:88::1' } as const

/** The subnets of a network in each family. */
export const families: Readonly<Record<string, readonly string[]>> = {
  IPv4: [subnets.ipv4],
  IPv6: [subnets.ipv6],
  'dual stack': [subnets.ipv4, subnets.ipv6],
}

/** host-local's configuration: one range set for each subnet, state in the host's own directory. */
export function hostLocal(host: Host, ...ranges: readonly string[]): object {
  return {
    type: 'host-local',
    dataDir: host.dataDirectory,
    ranges: (ranges.length === 0 ? [subnets.ipv4] : ranges).map(subnet => [{ subnet }]),
  }
}

export interface AttachmentOptions extends Pick<PluginOptions, 'args' | 'environment' | 'cwd'> {
  /** Default: one of its own. */
  readonly containerId?: string
  /** Default: a namespace of its own. */
  readonly container?: NetworkNamespace
  readonly ifname?: string
  /** Keys that this attachment's configuration has beyond the network's, as `args` and `runtimeConfig`. */
  readonly config?: object
}

export class Network {
  readonly host: Host
  readonly config: Readonly<Record<string, unknown>>
  readonly pluginDir: string
  readonly #plugin: string

  /** @param config keys beyond, or other than: a bridge "br0" that is the default gateway of `subnets.ipv4` */
  constructor(host: Host, config: object = {}, pluginDir = pluginDirectory) {
    this.host = host
    this.pluginDir = pluginDir
    this.config = {
      // Debian's Go plugins are older.
      cniVersion: pluginDir === goPluginDirectory ? '1.0.0' : '1.1.0',
      name: 'podnet',
      type: 'bridge',
      bridge: 'br0',
      isDefaultGateway: true,
      ipam: hostLocal(host),
      ...config,
    }
    this.#plugin = String(this.config.type)
  }

  /** The same network on the same host, configured otherwise or run by other executables. */
  with(config: object, pluginDir = this.pluginDir): Network {
    return new Network(this.host, { ...this.config, ...config }, pluginDir)
  }

  /** An attachment that is yet to be made. */
  attachment(options: AttachmentOptions = {}): Attachment {
    return new Attachment(this, options)
  }

  /** An attachment whose ADD has succeeded. */
  attach(options: AttachmentOptions = {}): Attachment {
    const attachment = this.attachment(options)
    attachment.add()
    return attachment
  }

  /** Attachments whose ADDs run at the same time and must all succeed. */
  attachAtOnce(count: number): Promise<Attachment[]> {
    const containers = this.host.createContainers(count)
    return Promise.all(containers.map(container => this.attachment({ container }).addBeside()))
  }

  /** DELs without ADD's results, at the same time; gives the ends of those that failed. */
  async detachAtOnce(attachments: readonly Attachment[]): Promise<Outcome[]> {
    const ends = await Promise.all(attachments.map(one => this.start(one.request('DEL')).ended))
    return ends.filter(({ status }) => status !== 0)
  }

  /** An attachment of another network object to the same network: same container, same ids, same result. */
  adopt(other: Attachment): Attachment {
    return new Attachment(this, other.options, other)
  }

  /** GC, which must succeed; without attachments the key stays absent. */
  gc(valid: readonly Attachment[] | undefined): void {
    const attachments = valid?.map(({ containerId, ifname }) => ({ containerID: containerId, ifname }))
    const keys = attachments === undefined ? {} : { 'cni.dev/valid-attachments': attachments }
    this.mustRun({ command: 'GC', config: { ...this.config, ...keys } })
  }

  status(config: object = {}): Answer {
    return this.run({ command: 'STATUS', config: { ...this.config, ...config } })
  }

  /** Starts the plugin and does not wait: answerOf(await child.ended). */
  start(options: Omit<PluginOptions, 'host'>): Child {
    return startPlugin(this.#plugin, this.completed(options))
  }

  run(options: Omit<PluginOptions, 'host'>): Answer {
    return runPlugin(this.#plugin, this.completed(options))
  }

  /** Another plugin than the network's. */
  runAs(plugin: string, options: Omit<PluginOptions, 'host'>): Answer {
    return runPlugin(plugin, this.completed(options))
  }

  mustRun(options: Omit<PluginOptions, 'host'>): Answer {
    return mustRunPlugin(this.#plugin, this.completed(options))
  }

  /** The Go plugins find the programs that they run by PATH; ours get what a bare runtime gives: nothing. */
  completed(options: Omit<PluginOptions, 'host'>): PluginOptions {
    const path = this.pluginDir === goPluginDirectory ? { PATH: programPath } : {}
    const environment = { ...path, ...options.environment }
    return { ...options, host: this.host, pluginDir: this.pluginDir, environment }
  }
}

let attachments = 0

export class Attachment {
  readonly network: Network
  readonly container: NetworkNamespace
  readonly containerId: string
  readonly ifname: string
  readonly options: AttachmentOptions
  #added: Answer | undefined

  /** @param same the attachment that this one is, made through another network object */
  constructor(network: Network, options: AttachmentOptions, same?: Attachment) {
    this.network = network
    this.options = options
    this.container = same?.container ?? options.container ?? network.host.createContainer()
    this.containerId = same?.containerId ?? options.containerId ?? `container-${++attachments}`
    this.ifname = options.ifname ?? 'eth0'
    if (same !== undefined) this.#added = same.#added
  }

  /** ADD, which must succeed. */
  add(): Answer {
    this.#added = this.network.mustRun(this.request('ADD'))
    return this.#added
  }

  /** ADD, whatever it says. */
  tryAdd(): Answer {
    return this.#remember(this.network.run(this.request('ADD')))
  }

  /** ADD, which must succeed, while others run. `started` is given the process. */
  async addBeside(started?: (child: Child) => void): Promise<this> {
    const child = this.network.start(this.request('ADD'))
    started?.(child)
    const answer = answerOf(await child.ended)
    const how = answer.signal ?? `status ${answer.status}`
    if (answer.status !== 0) throw new Error(`ADD ended with ${how}: ${answer.stdout}${answer.stderr}`)
    this.#remember(answer)
    return this
  }

  #remember(answer: Answer): Answer {
    if (answer.status === 0) this.#added = answer
    return answer
  }

  /** DEL, which must succeed. `withoutResult`: as after the loss of the runtime's cache. */
  del(options: { readonly netns?: string; readonly withoutResult?: boolean } = {}): Answer {
    const request = this.request('DEL', options.withoutResult === true ? {} : { prevResult: this.#added?.json })
    return this.network.mustRun({ ...request, netns: options.netns ?? this.container })
  }

  /** CHECK, whatever it says. `later` is what further plugins of the chain have made of the result. */
  check(later: object = {}): Answer {
    return this.network.run(this.request('CHECK', { prevResult: { ...(this.#added?.json as object), ...later } }))
  }

  /** What the plugin is run with, for tests that run it in their own way. */
  request(command: string, keys: object = {}): Omit<PluginOptions, 'host'> {
    const { args, environment, cwd, config } = this.options
    return {
      command,
      containerId: this.containerId,
      netns: this.container,
      ifname: this.ifname,
      args,
      config: { ...this.network.config, ...config, ...keys },
      ...(environment === undefined ? {} : { environment }),
      ...(cwd === undefined ? {} : { cwd }),
    }
  }

  /** ADD's result. */
  get result(): NonNullable<Answer['result']> {
    if (this.#added?.result === undefined) throw new Error('ADD has given no result')
    return this.#added.result
  }

  /** Its addresses without prefix length, IPv4 and IPv6 in the order of the result. */
  get addresses(): string[] {
    return (this.result.ips ?? []).map(({ address }) => address.replace(/\/.*/, ''))
  }

  /** The first of them. */
  get address(): string {
    return this.addresses[0] ?? ''
  }

  /** The name of the host's end of the veth. */
  get port(): string {
    return this.result.interfaces?.[1]?.name ?? ''
  }
}
