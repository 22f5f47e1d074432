/**
 * The containers of this host, as the other hosts know them. An endpoint is an address of a network: its key exists once,
 * and only who owns it, or finds its owner dead, replaces it.
 */

import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import type { AgentAttachment } from '../lib/overlay/agent-protocol.ts'
import type { Contribution, PublishHook, WithdrawHook } from './context.ts'
import { keys } from './etcd/keys.ts'
import type { Condition, Entry, Operation, Store } from './etcd/store.ts'
import { KeyedQueue } from './keyed-queue.ts'
import type { AttachmentRecord, EndpointRecord } from './records.ts'
import { addressOf, type CheckedPublish } from './requests.ts'

export interface EndpointsOptions {
  readonly node: string
  readonly local: string
  readonly store: Store
}

/** How often a withdrawal is begun anew because something changed meanwhile. */
const ATTEMPTS = 10
/** For how long a publication is: many hosts publish ports at once, of which one is made after the other. */
const PATIENCE_MS = 7_000
/** Random pauses before another attempt, longer each time, so that hosts do not meet again. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [5, 250]

export class Endpoints {
  readonly #options: EndpointsOptions
  readonly publishHooks: PublishHook[] = []
  readonly withdrawHooks: WithdrawHook[] = []
  readonly #queue = new KeyedQueue()

  constructor(options: EndpointsOptions) {
    this.#options = options
  }

  /**
   * Makes the container's addresses known, or changes what is known of it.
   * @returns the revision from which on they are
   * @throws CniError code 103 when an address is another container's
   */
  async publish(request: CheckedPublish): Promise<number> {
    // Publications of ports exclude each other in the whole cluster: those of one host need not compete.
    return request.services?.length ? this.#queue.run('services', () => this.#publish(request)) : this.#publish(request)
  }

  async #publish(request: CheckedPublish): Promise<number> {
    const { node, local, store } = this.#options
    const { network, containerId, ifname, mac, addresses, services = [], gatewayAddresses = [] } = request
    const attachment: AttachmentRecord = {
      node,
      host: local,
      network,
      containerId,
      ifname,
      mac,
      addresses,
      services,
      gatewayAddresses,
    }
    const value: EndpointRecord = { node, host: local, mac, containerId, ifname }
    const attachmentKey = keys.attachment(node, network, containerId, ifname)
    const deadline = performance.now() + PATIENCE_MS
    for (let attempt = 0; attempt === 0 || performance.now() < deadline; attempt++) {
      if (attempt > 0) await pause(attempt)
      const before = await store.get<AttachmentRecord>(attachmentKey)
      const wanted = addresses.map(address => keys.endpoint(network, addressOf(address)))
      const former = (before?.value.addresses ?? []).map(address => keys.endpoint(network, addressOf(address)))
      const left = former.filter(key => !wanted.includes(key))
      const [present, old] = await Promise.all([
        store.getAll<EndpointRecord>(wanted),
        store.getAll<EndpointRecord>(left),
      ])
      const claims = await Promise.all(
        wanted.map((key, index) => this.#claim(key, present[index], request, request.explicit === true)),
      )
      const added = await contributions(this.publishHooks.map(hook => hook(request, attachment)))
      const { succeeded, revision } = await store.transaction(
        [
          { key: attachmentKey, revision: before?.revision ?? 0 },
          ...claims.flat(),
          ...added.flatMap(({ conditions = [] }) => conditions),
        ],
        [
          ...wanted.map(key => ({ put: key, value })),
          ...removalsOf(old, attachment),
          { put: attachmentKey, value: attachment },
          ...added.flatMap(({ operations = [] }) => operations),
        ],
      )
      if (succeeded) return revision
    }
    throw busy(request)
  }

  /** Under which conditions the address may be taken. @throws CniError code 103 */
  async #claim(
    key: string,
    present: Entry<EndpointRecord> | undefined,
    claimant: AgentAttachment,
    explicit: boolean,
  ): Promise<Condition[]> {
    if (present === undefined) return [{ key, revision: 0 }]
    const unchanged = { key, revision: present.revision }
    const { node, store } = this.#options
    if (isOwner(present.value, node, claimant)) return [unchanged]
    const owner = present.value.node
    const ownerNode = keys.node(owner)
    // The key of a node that lives must not appear before the address is taken.
    if (explicit && owner !== node && (await store.get(ownerNode)) === undefined)
      return [unchanged, { key: ownerNode, revision: 0 }]
    const address = key.slice(key.lastIndexOf('/') + 1)
    throw new CniError(
      ErrorCode.addressInUse,
      `${address} belongs to container "${present.value.containerId}" on node "${owner}" in network "${claimant.network}"`,
      explicit || owner === node
        ? 'delete that container first'
        : 'delete that container first; of a node that is away an address can be taken over by asking for it by name',
    )
  }

  /**
   * Takes the container's addresses back.
   * @param node that the container is, or was, on
   * @param alsoIf what must hold besides: that the node is dead
   * @param keep leaves the node's own list as it is, for when it comes back
   * @returns the revision of the change; 0: there was nothing
   */
  async withdraw(
    attachment: AgentAttachment,
    { node = this.#options.node, alsoIf = [], keep = false }: WithdrawOptions = {},
  ): Promise<number> {
    const { store } = this.#options
    const { network, containerId, ifname } = attachment
    const key = keys.attachment(node, network, containerId, ifname)
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const entry = await store.get<AttachmentRecord>(key)
      if (entry === undefined) return 0
      const endpoints = await store.getAll<EndpointRecord>(
        entry.value.addresses.map(address => keys.endpoint(network, addressOf(address))),
      )
      const added = await contributions(this.withdrawHooks.map(hook => hook(entry.value)))
      const { succeeded, revision } = await store.transaction(
        [
          { key, revision: entry.revision },
          ...endpoints
            .filter(endpoint => endpoint !== undefined)
            .map(endpoint => ({ key: endpoint.key, revision: endpoint.revision })),
          ...alsoIf,
          ...added.flatMap(({ conditions = [] }) => conditions),
        ],
        [
          ...removalsOf(endpoints, entry.value),
          ...(keep ? [] : [{ delete: key }]),
          ...added.flatMap(({ operations = [] }) => operations),
        ],
      )
      if (succeeded) return revision
    }
    throw busy(attachment)
  }
}

async function pause(attempt: number): Promise<void> {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt)
  await new Promise(resolve => setTimeout(resolve, Math.random() * longest))
}

export interface WithdrawOptions {
  readonly node?: string
  readonly alsoIf?: readonly Condition[]
  readonly keep?: boolean
}

async function contributions(asked: readonly Promise<Contribution>[]): Promise<Contribution[]> {
  return Promise.all(asked)
}

function isOwner(endpoint: EndpointRecord, node: string, { containerId, ifname }: AgentAttachment): boolean {
  return endpoint.node === node && endpoint.containerId === containerId && endpoint.ifname === ifname
}

/** Of the endpoints those that are still the attachment's: an address may have been taken over. */
function removalsOf(
  endpoints: readonly (Entry<EndpointRecord> | undefined)[],
  attachment: AttachmentRecord,
): Operation[] {
  return endpoints
    .filter(endpoint => endpoint !== undefined)
    .filter(({ value }) => isOwner(value, attachment.node, attachment))
    .map(({ key }) => ({ delete: key }))
}

function busy({ network, containerId, ifname }: AgentAttachment): CniError {
  return new CniError(
    ErrorCode.tryAgainLater,
    `the record of container "${containerId}", interface "${ifname}" in network "${network}" changes all the time`,
    'try again',
  )
}
