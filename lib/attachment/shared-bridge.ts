/** The bridge itself: found or made, and shared with other containers whose ADD may run at the same time. */

import { randomMac } from '../address/mac.ts'
import { samePrefix } from '../address/prefix.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { Transaction } from '../cni/transaction.ts'
import { listAddresses } from '../netlink/route/addr/index.ts'
import {
  addLinkRequest,
  deleteLink,
  getLink,
  type Link,
  listLinks,
  setLink,
  setLinkRequest,
} from '../netlink/route/link/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { shareNamespaceLock, withNamespaceLock } from '../netns/namespace-lock.ts'
import { Errno } from '../sys/errno.ts'
import { close } from '../sys/file.ts'
import { AddressChanges } from './address-changes.ts'
import { type AddressPlan, prepareGatewaySysctls } from './gateway.ts'

/** What a plugin wants of a bridge. */
export interface SharedBridgeConfig {
  /** Its name. */
  readonly bridge: string
  /** 0 leaves the choice to the kernel. */
  readonly mtu: number
  readonly duplicateAddressDetection: boolean
  readonly promiscMode?: boolean
  readonly vlanFiltering?: boolean
  /** Given to a bridge that is made here. */
  readonly alias?: string
}

/** The bridge of that name, or undefined. @throws CniError code 104 when the name is another kind of link's */
export function findBridge(socket: NetlinkSocket, name: string): Link | undefined {
  const link = getLink(socket, { name })
  if (link === undefined || link.kind === 'bridge') return link
  throw new CniError(
    ErrorCode.conflict,
    `"${name}" already exists but is not a bridge`,
    `it is a link of kind "${link.kind ?? 'device'}": choose another name with the key "bridge", or remove it with "ip link delete ${name}"`,
  )
}

/**
 * A bridge in use by one ADD. What ADD changes on it is undone only while no port is attached: other containers may
 * have come to rely on it. From `use` until `release`, the namespace's lock is held shared, so that nobody undoes
 * the bridge between its being found and the port's being attached; undoing takes the lock alone.
 */
export class SharedBridge {
  readonly #socket: NetlinkSocket
  readonly #config: SharedBridgeConfig
  #lock: number | undefined
  #created = false
  /** As it was before this ADD. */
  #found: Link | undefined
  readonly #addresses: AddressChanges

  constructor(socket: NetlinkSocket, config: SharedBridgeConfig) {
    this.#socket = socket
    this.#config = config
    this.#addresses = new AddressChanges(socket, config)
  }

  /** Finds or makes the bridge, up and with the properties that the configuration asks for. */
  use(transaction: Transaction): Link {
    return transaction.step(
      `use bridge "${this.#config.bridge}"`,
      () => {
        this.#lock = shareNamespaceLock()
        try {
          this.#found = findBridge(this.#socket, this.#config.bridge)
          return this.#withProperties(this.#found ?? this.#create())
        } catch (error) {
          this.#undo()
          throw error
        }
      },
      () => this.#undo(),
    )
  }

  /** To be called when the port is attached and in its VLANs: it keeps the bridge by itself. */
  release(): void {
    if (this.#lock !== undefined) close(this.#lock)
    this.#lock = undefined
  }

  /** Adds the missing addresses and removes those in the way. */
  changeAddresses(bridge: Link, plan: AddressPlan): void {
    this.#addresses.make(bridge, plan)
  }

  #create(): Link {
    const { bridge: name, mtu, duplicateAddressDetection, alias } = this.#config
    // An address of its own: a bridge without one takes its lowest port's, and changes it as ports come and go.
    const [failure] = this.#socket.tryAll([
      addLinkRequest({ name, kind: 'bridge', mac: randomMac(), ...(mtu > 0 ? { mtu } : {}) }),
      ...(alias === undefined ? [] : [setLinkRequest({ name, alias })]),
    ])
    if (failure === undefined) this.#created = true
    else if (failure.errno !== Errno.EEXIST) throw failure
    prepareGatewaySysctls(name, duplicateAddressDetection)
    const bridge = findBridge(this.#socket, name)
    if (bridge === undefined) throw new CniError(ErrorCode.tryAgainLater, `bridge "${name}" vanished while it was made`)
    return bridge
  }

  #withProperties(bridge: Link): Link {
    const { promiscMode = false, vlanFiltering = false } = this.#config
    const filter = vlanFiltering && !bridge.bridge?.vlanFiltering
    const promiscuous = promiscMode && !bridge.promiscuous
    const mac = bridge.mac !== undefined && hasNoMacOfItsOwn(bridge) ? bridge.mac : undefined
    if (!filter && !promiscuous && mac === undefined && bridge.up) return bridge
    if (filter) this.#filterVlans(bridge)
    setLink(this.#socket, {
      index: bridge.index,
      up: true,
      ...(promiscuous ? { promiscuous } : {}),
      ...(mac === undefined ? {} : { mac }),
    })
    return findBridge(this.#socket, bridge.name) ?? bridge
  }

  #filterVlans({ index, name }: Link): void {
    try {
      setLink(this.#socket, { index, bridge: { vlanFiltering: true } })
    } catch (error) {
      if ((error as { errno?: number }).errno !== Errno.EOPNOTSUPP) throw error
      throw new CniError(
        ErrorCode.kernelFeatureMissing,
        `the kernel cannot filter VLANs on bridge "${name}"`,
        'it lacks CONFIG_BRIDGE_VLAN_FILTERING: use another kernel, or remove "vlan" and "vlanTrunk"',
        { cause: error },
      )
    }
  }

  /** With its IPv6 addresses, which the kernel drops when a link goes down. */
  #takeDown({ index }: Link): void {
    const addresses = listAddresses(this.#socket, { index, family: 6 }).filter(({ scope }) => scope === 0)
    setLink(this.#socket, { index, up: false })
    const left = listAddresses(this.#socket, { index, family: 6 })
    for (const address of addresses) {
      if (!left.some(({ prefix }) => samePrefix(prefix, address.prefix))) this.#addresses.bringBack(address)
    }
  }

  #undo(): void {
    this.release()
    withNamespaceLock(() => {
      const bridge = findBridge(this.#socket, this.#config.bridge)
      if (bridge === undefined || listLinks(this.#socket, { master: bridge.index }).length > 0) return
      if (this.#created) {
        deleteLink(this.#socket, { index: bridge.index })
        return
      }
      this.#addresses.undo(bridge)
      const { up, promiscuous, bridge: settings } = this.#found ?? bridge
      if (promiscuous !== bridge.promiscuous) setLink(this.#socket, { index: bridge.index, promiscuous })
      if (bridge.bridge?.vlanFiltering && !settings?.vlanFiltering) {
        setLink(this.#socket, { index: bridge.index, bridge: { vlanFiltering: false } })
      }
      if (!up) this.#takeDown(bridge)
    })
  }
}

/**
 * Whether a bridge would take its first port's address: it was made without one, and has no port yet. Its id, two bytes of
 * priority and an address, then has zeros. (br_stp_recalculate_bridge_id, net/bridge/br_stp_if.c)
 */
function hasNoMacOfItsOwn(bridge: Link): boolean {
  return bridge.bridge?.bridgeId?.subarray(2).every(byte => byte === 0) ?? false
}
