/** The bridge itself: found or made, and shared with other containers whose ADD may run at the same time. */

import { randomMac } from '../../lib/address/mac.ts'
import type { Prefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Transaction } from '../../lib/cni/transaction.ts'
import {
  type Address,
  AddressFlag,
  addAddress,
  deleteAddress,
  listAddresses,
} from '../../lib/netlink/route/addr/index.ts'
import { addLink, deleteLink, getLink, type Link, listLinks, setLink } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { writeSysctlIfExists } from '../../lib/netns/sysctl.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { close, O, open } from '../../lib/sys/file.ts'
import { lockDescriptor } from '../../lib/sys/lock.ts'
import type { BridgeConfig } from './config.ts'
import { type AddressPlan, samePrefix } from './gateway.ts'
import { usesVlans } from './port-vlan.ts'

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
 * have come to rely on it. From `use` until `attached`, the namespace's lock is held shared, so that nobody undoes
 * the bridge between its being found and the port's being attached; undoing takes the lock alone.
 */
export class SharedBridge {
  readonly #socket: NetlinkSocket
  readonly #config: BridgeConfig
  /** The lock is on the namespace's own inode: no file to keep, and one lock for each host that shares a /run. */
  #lock: number | undefined
  #created = false
  /** As it was before this ADD. */
  #found: Link | undefined
  readonly #added: Prefix[] = []
  readonly #removed: Address[] = []

  constructor(socket: NetlinkSocket, config: BridgeConfig) {
    this.#socket = socket
    this.#config = config
  }

  /** Finds or makes the bridge, up and with the properties that the configuration asks for. */
  use(transaction: Transaction): Link {
    return transaction.step(
      `use bridge "${this.#config.bridge}"`,
      () => {
        this.#lock = lockNamespace({ shared: true })
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

  /** Says that the port is attached, and keeps the bridge by itself. */
  attached(): void {
    if (this.#lock !== undefined) close(this.#lock)
    this.#lock = undefined
  }

  /** Adds the missing addresses and removes those in the way. */
  changeAddresses(bridge: Link, plan: AddressPlan): void {
    for (const address of plan.conflicting) {
      // The kernel takes the other addresses of a subnet away together with the first.
      deleteAddress(this.#socket, address, { missing: 'ignore' })
      this.#removed.push(address)
    }
    for (const prefix of plan.missing) {
      try {
        addAddress(this.#socket, this.#addressOptions(bridge, prefix))
        this.#added.push(prefix)
      } catch (error) {
        // Another container's ADD was faster.
        if ((error as { errno?: number }).errno !== Errno.EEXIST) throw error
      }
    }
  }

  #addressOptions(bridge: Link, prefix: Prefix) {
    return { index: bridge.index, prefix, noDad: !this.#config.duplicateAddressDetection }
  }

  #create(): Link {
    const { bridge: name, mtu, duplicateAddressDetection } = this.#config
    try {
      // An address of its own: a bridge without one takes its lowest port's, and changes it as ports come and go.
      addLink(this.#socket, { name, kind: 'bridge', mac: randomMac(), ...(mtu > 0 ? { mtu } : {}) })
      this.#created = true
    } catch (error) {
      if ((error as { errno?: number }).errno !== Errno.EEXIST) throw error
    }
    // The host must not take routes from its containers, nor wait before its own addresses answer.
    writeSysctlIfExists(`net/ipv6/conf/${name}/accept_ra`, '0')
    if (!duplicateAddressDetection) writeSysctlIfExists(`net/ipv6/conf/${name}/accept_dad`, '0')
    const bridge = findBridge(this.#socket, name)
    if (bridge === undefined) throw new CniError(ErrorCode.tryAgainLater, `bridge "${name}" vanished while it was made`)
    return bridge
  }

  #withProperties(bridge: Link): Link {
    const { promiscMode } = this.#config
    const filter = usesVlans(this.#config) && !bridge.bridge?.vlanFiltering
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
      if (!left.some(({ prefix }) => samePrefix(prefix, address.prefix))) this.#bringBack(address)
    }
  }

  #bringBack(address: Address): void {
    addAddress(this.#socket, {
      ...address,
      broadcast: address.broadcast ?? false,
      noDad: !this.#config.duplicateAddressDetection,
      noPrefixRoute: (address.flags & AddressFlag.noPrefixRoute) !== 0,
    })
  }

  #undo(): void {
    this.attached()
    const lock = lockNamespace({ timeoutMs: 5_000 })
    try {
      const bridge = findBridge(this.#socket, this.#config.bridge)
      if (bridge === undefined || listLinks(this.#socket, { master: bridge.index }).length > 0) return
      if (this.#created) {
        deleteLink(this.#socket, { index: bridge.index })
        return
      }
      for (const prefix of this.#added)
        deleteAddress(this.#socket, { index: bridge.index, prefix }, { missing: 'ignore' })
      for (const address of this.#removed) this.#bringBack(address)
      const { up, promiscuous } = this.#found ?? bridge
      if (promiscuous !== bridge.promiscuous) setLink(this.#socket, { index: bridge.index, promiscuous })
      if (!up) this.#takeDown(bridge)
    } finally {
      close(lock)
    }
  }
}

/**
 * Whether a bridge would take its first port's address: it was made without one, and has no port yet. Its id, two bytes of
 * priority and an address, then has zeros. (br_stp_recalculate_bridge_id, net/bridge/br_stp_if.c)
 */
function hasNoMacOfItsOwn(bridge: Link): boolean {
  return bridge.bridge?.bridgeId?.subarray(2).every(byte => byte === 0) ?? false
}

const OWN_NAMESPACE = '/proc/self/ns/net'

function lockNamespace(options: { shared?: boolean; timeoutMs?: number }): number {
  const fd = open(OWN_NAMESPACE, O.RDONLY)
  try {
    lockDescriptor(fd, OWN_NAMESPACE, options)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}
