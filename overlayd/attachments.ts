/**
 * The verbs of plugins, in order: what is asked for one attachment waits for what was asked before. The node's own list is
 * etcd's, seen through a view; a release that cannot be made now goes to the spool.
 */

import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import { hostVethName } from '../lib/cni/names.ts'
import { getLink } from '../lib/netlink/route/link/index.ts'
import type {
  AgentAttachment,
  CheckRequest,
  GcRequest,
  JoinAnswer,
  JoinRequest,
  PublishRequest,
} from '../lib/overlay/agent-protocol.ts'
import { LOAD_BALANCER } from '../lib/overlay/names.ts'
import { withOverlay } from '../lib/overlay/namespace.ts'
import type { Endpoints } from './endpoints.ts'
import { keys } from './etcd/keys.ts'
import type { Store, View } from './etcd/store.ts'
import { KeyedQueue } from './keyed-queue.ts'
import type { Log } from './log.ts'
import type { Networks } from './networks.ts'
import type { AttachmentRecord } from './records.ts'
import { addressOf, checkAttachment, checkJoin, checkPublish } from './requests.ts'
import type { Spool } from './spool.ts'

export interface AttachmentsOptions {
  readonly node: string
  readonly local: string
  readonly store: Store
  readonly networks: Networks
  readonly endpoints: Endpoints
  readonly spool: Spool
  readonly log: Log
}

/** Between join and publish: addresses have to be found meanwhile. */
const PENDING_MS = 120_000
/** For etcd to send back what was written. */
const ECHO_MS = 2_000
/** How many differences an error names. */
const SHOWN = 5

export class Attachments {
  readonly #options: AttachmentsOptions
  readonly #queue = new KeyedQueue()
  /** Until when attachments that joined are waited for, by key. */
  readonly #pending = new Map<string, { readonly network: string; readonly until: number }>()
  readonly #own: View<AttachmentRecord>

  constructor(options: AttachmentsOptions) {
    this.#options = options
    this.#own = options.store.watch<AttachmentRecord>(keys.attachments(options.node), () => {})
  }

  get ready(): Promise<void> {
    return this.#own.ready
  }

  get connected(): boolean {
    return this.#own.connected
  }

  close(): void {
    this.#own.close()
  }

  /** Whether a container of this host is in the network, or about to be. */
  isUsed(network: string): boolean {
    const now = Date.now()
    for (const [key, pending] of this.#pending) if (pending.until < now) this.#pending.delete(key)
    return [...this.#pending.values()].some(pending => pending.network === network) || this.#ownIn(network).length > 0
  }

  #ownIn(network: string): AttachmentRecord[] {
    return [...this.#own.entries.values()].map(({ value }) => value).filter(record => record.network === network)
  }

  #alone<T>(attachment: AgentAttachment, work: () => Promise<T>): Promise<T> {
    return this.#queue.run(this.#key(attachment), work)
  }

  #key({ network, containerId, ifname }: AgentAttachment): string {
    return keys.attachment(this.#options.node, network, containerId, ifname)
  }

  /** @throws CniError code 104 for an attachment that is there, or a network with other numbers */
  async join(request: JoinRequest): Promise<JoinAnswer> {
    checkJoin(request)
    const { networks, local, spool } = this.#options
    return this.#alone(request, async () => {
      this.#refuseAttached(request)
      // Of an earlier container of the same name: it must not hit this one.
      if (spool.has(request)) await this.#release(request)
      const key = this.#key(request)
      this.#pending.set(key, { network: request.network, until: Date.now() + PENDING_MS })
      try {
        const { record } = await networks.join(request)
        return { vni: record.vni, port: record.port, mtu: record.mtu, local }
      } catch (error) {
        this.#pending.delete(key)
        throw error
      }
    })
  }

  /** What a failed ADD undoes would otherwise be the first one's. @throws CniError code 104 */
  #refuseAttached({ network, containerId, ifname }: AgentAttachment): void {
    if (containerId === LOAD_BALANCER || !this.#own.entries.has(this.#key({ network, containerId, ifname }))) return
    const name = hostVethName(network, containerId, ifname)
    const isThere = withOverlay(network, overlay => overlay !== undefined && getLink(overlay.socket, { name }))
    if (!isThere) return
    throw new CniError(
      ErrorCode.conflict,
      `container "${containerId}" is already in network "${network}" with "${ifname}"`,
      'run DEL for the attachment first',
    )
  }

  /** Returns when the other hosts are being told and this one's tables are as they should be. @throws CniError */
  async publish(request: PublishRequest): Promise<void> {
    const checked = checkPublish(request)
    const { networks, endpoints } = this.#options
    await this.#alone(checked, async () => {
      const joined = await networks.join({ network: checked.network })
      const revision = await endpoints.publish(checked)
      await Promise.all([
        this.#own.reaches(revision, ECHO_MS),
        checked.addresses.length > 0 ? joined.endpoints.reaches(revision, ECHO_MS) : true,
      ])
      this.#pending.delete(this.#key(checked))
      joined.reconcile(false)
    })
  }

  /** Never fails for want of etcd: the release waits in the spool then. @throws CniError */
  async withdraw(attachment: AgentAttachment): Promise<void> {
    checkAttachment(attachment)
    await this.#alone(attachment, async () => {
      try {
        await this.#release(attachment)
      } catch (error) {
        if (!(error instanceof CniError) || error.code !== ErrorCode.tryAgainLater) throw error
        this.#options.spool.add(attachment)
        this.#options.log.warn('a release waits in the spool', { ...attachment, error })
      }
    })
  }

  async #release(attachment: AgentAttachment): Promise<void> {
    const { endpoints, networks, spool } = this.#options
    const revision = await endpoints.withdraw(attachment)
    if (revision > 0) await this.#own.reaches(revision, ECHO_MS)
    this.#pending.delete(this.#key(attachment))
    spool.remove(attachment)
    await networks.leaveIfUnused(attachment.network)
  }

  /** Makes the releases that wait. Ends with the first that fails for want of etcd. @throws CniError */
  async drain(): Promise<void> {
    const { spool, log } = this.#options
    for (const attachment of spool.list()) {
      await this.#alone(attachment, async () => {
        if (!spool.has(attachment)) return
        await this.#release(attachment)
        log.info('a release from the spool was made', { ...attachment })
      })
    }
  }

  /** @throws CniError code 105 */
  async check({ mac, addresses, ...attachment }: CheckRequest): Promise<void> {
    checkAttachment(attachment)
    const { network, containerId } = attachment
    const { node, networks, store } = this.#options
    const record = this.#own.entries.get(this.#key(attachment))?.value
    const joined = networks.joined.get(network)
    if (record === undefined || joined === undefined)
      throw notAsLeft(`container "${containerId}" is not published in network "${network}"`)
    const published = record.addresses.map(addressOf).sort()
    const given = addresses?.map(addressOf).sort()
    if (given !== undefined && given.join() !== published.join())
      throw notAsLeft(`the container has ${given.join(', ')}, but published are ${published.join(', ')}`)
    if (mac !== undefined && mac.toLowerCase() !== record.mac)
      throw notAsLeft(`the container's hardware address is ${mac}, but published is ${record.mac}`)
    for (const address of published) {
      const endpoint = joined.endpoints.entries.get(keys.endpoint(network, address))?.value
      if (endpoint?.node === node && endpoint.containerId === containerId) continue
      throw notAsLeft(
        endpoint === undefined
          ? `no other host knows of ${address}`
          : `${address} was taken over by container "${endpoint.containerId}" on node "${endpoint.node}"`,
      )
    }
    if ((await store.get(keys.member(network, node))) === undefined)
      throw notAsLeft(`this host is no member of network "${network}" in etcd`)
    const differences = joined.differences()
    if (differences.length === 0) return
    const more = differences.length > SHOWN ? ` and ${differences.length - SHOWN} more` : ''
    throw notAsLeft(`tables of network "${network}": ${differences.slice(0, SHOWN).join('; ')}${more}`)
  }

  /** Withdraws what is not valid any more. The agent's own load balancer is no runtime's to know. */
  async gc({ network, validAttachments }: GcRequest): Promise<AgentAttachment[]> {
    const valid = new Set(validAttachments.map(({ containerId, ifname }) => `${containerId} ${ifname}`))
    const removed: AgentAttachment[] = []
    for (const { containerId, ifname } of this.#ownIn(network)) {
      if (containerId === LOAD_BALANCER || valid.has(`${containerId} ${ifname}`)) continue
      const attachment = { network, containerId, ifname }
      await this.withdraw(attachment)
      removed.push(attachment)
    }
    return removed
  }

  /**
   * What the node's own list says, made true again: after a start, and after the host was cut off for so long that others
   * took it for dead. Containers that a restart of the host has ended are withdrawn.
   */
  async assert(): Promise<void> {
    const { log, node, local, networks } = this.#options
    for (const { value } of [...this.#own.entries.values()]) {
      const { network } = value
      try {
        if (withOverlay(network, overlay => overlay?.vxlan === undefined)) {
          if (value.containerId === LOAD_BALANCER) continue
          await this.#withdrawGone(value)
          continue
        }
        const joined = networks.joined.get(network) ?? (await networks.join({ network }))
        const isKnown = (address: string) => {
          const endpoint = joined.endpoints.entries.get(keys.endpoint(network, addressOf(address)))?.value
          return endpoint?.node === node && endpoint.containerId === value.containerId && endpoint.host === local
        }
        if (value.addresses.every(isKnown)) continue
        log.warn('a container is made known again', { network, containerId: value.containerId })
        await this.publish(value)
      } catch (error) {
        log.error('a container cannot be made known', { network, containerId: value.containerId, error })
      }
    }
  }

  /** A DEL that removes the network right now has withdrawn it by itself before. */
  async #withdrawGone(record: AttachmentRecord): Promise<void> {
    const { network, containerId, ifname } = record
    this.#options.log.warn('the network of a container is gone from this host', { network, containerId })
    await this.withdraw({ network, containerId, ifname })
  }

  /** Leaves networks that were joined by an ADD that never came to its end. */
  async leaveUnused(): Promise<void> {
    for (const network of [...this.#options.networks.joined.keys()])
      if (!this.isUsed(network)) await this.#options.networks.leaveIfUnused(network)
  }
}

function notAsLeft(message: string): CniError {
  return new CniError(
    ErrorCode.checkFailed,
    message,
    'overlayd corrects tables within its reconcile time; otherwise create the container again',
  )
}
