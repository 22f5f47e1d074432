/**
 * The gateway of a VLAN: not the bridge, which is in no container's VLAN, but one end of a veth pair whose other end is
 * an access port of the bridge in that VLAN:
 *
 *     br0.100 (10.1.0.1/16) ---- veth3f0e4c21a90 ---- br0 ---- veth of a container in VLAN 100
 *
 * The name is the Go plugin's, and a gateway that it has made is used. Ours goes with the last port of its VLAN.
 */

import { randomMac } from '../../lib/address/mac.ts'
import { AddressChanges } from '../../lib/attachment/address-changes.ts'
import { type AddressPlan, prepareGatewaySysctls } from '../../lib/attachment/gateway.ts'
import type { SharedBridge } from '../../lib/attachment/shared-bridge.ts'
import { highMac, waitForPort } from '../../lib/attachment/veth-port.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { vlanGatewayPortName } from '../../lib/cni/names.ts'
import type { Transaction } from '../../lib/cni/transaction.ts'
import {
  addLink,
  type BridgeVlan,
  deleteLink,
  getLink,
  type Link,
  listBridgePorts,
  setLink,
} from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { withNamespaceLock } from '../../lib/netns/namespace-lock.ts'
import { Errno } from '../../lib/sys/errno.ts'
import type { BridgeConfig } from './config.ts'
import { hasVlan, replaceVlans } from './port-vlan.ts'

/** A VLAN's gateway on a bridge, as the configuration names them. */
export type VlanGatewayConfig = BridgeConfig & { readonly vlanGateway: string }

/** Whether the network's gateway is that of a VLAN. */
export function hasVlanGateway(config: BridgeConfig): config is VlanGatewayConfig {
  return config.vlanGateway !== undefined
}

/** A gateway and its port on the bridge. */
export interface FoundGateway {
  readonly link: Link
  /** Undefined when it needs none: an 8021q link on the bridge itself, which an administrator has made. */
  readonly port: Link | undefined
}

/** The gateway of the VLAN, or undefined. @throws CniError code 104 when the name is another link's */
export function findVlanGateway(
  socket: NetlinkSocket,
  config: VlanGatewayConfig,
  bridge: Link,
): FoundGateway | undefined {
  const name = config.vlanGateway
  const link = getLink(socket, { name })
  if (link === undefined) return undefined
  if (link.kind === 'vlan' && link.parent === bridge.index) return { link, port: undefined }
  if (link.kind === 'veth' && link.parent !== undefined && link.parentNamespaceId === undefined) {
    const port = getLink(socket, { index: link.parent })
    if (port?.master === bridge.index) return { link, port }
  }
  throw new CniError(
    ErrorCode.conflict,
    `"${name}" already exists but is not the gateway of VLAN ${config.vlan} on bridge "${bridge.name}"`,
    `remove it with "ip link delete ${name}", or choose another "bridge" or "vlan"`,
  )
}

/** The access port's VLAN. */
function accessVlan({ vlan }: BridgeConfig): BridgeVlan {
  return { id: vlan, pvid: true, untagged: true }
}

/** Whether the gateway's port is in the VLAN. */
export function isInVlan(socket: NetlinkSocket, config: BridgeConfig, port: Link): boolean {
  const vlans = listBridgePorts(socket, { index: port.index })[0]?.vlans ?? []
  return hasVlan(vlans, accessVlan(config))
}

/**
 * A VLAN's gateway in use by one ADD. As with the bridge, what ADD changes is only undone while nobody else can have come
 * to rely on it: while no port is in the VLAN. The lock is the bridge's, held until the container's port is in the VLAN.
 */
export class SharedVlanGateway {
  readonly #socket: NetlinkSocket
  readonly #config: VlanGatewayConfig
  readonly #shared: SharedBridge
  readonly #addresses: AddressChanges

  constructor(socket: NetlinkSocket, config: VlanGatewayConfig, shared: SharedBridge) {
    this.#socket = socket
    this.#config = config
    this.#shared = shared
    this.#addresses = new AddressChanges(socket, config)
  }

  /** Finds or makes the gateway, up and in its VLAN. */
  use(transaction: Transaction, bridge: Link): Link {
    return transaction.step(
      `use gateway "${this.#config.vlanGateway}"`,
      () => {
        try {
          const found = findVlanGateway(this.#socket, this.#config, bridge)
          return this.#complete(bridge, found ?? this.#create(bridge))
        } catch (error) {
          this.#undo()
          throw error
        }
      },
      () => this.#undo(),
    )
  }

  /** Adds the missing addresses and removes those in the way. */
  changeAddresses(link: Link, plan: AddressPlan): void {
    this.#addresses.make(link, plan)
  }

  /** Waits until frames pass between the gateway and the bridge. @throws CniError code 100 */
  waitUntilReady(): void {
    const { bridge, vlan, vlanGateway } = this.#config
    const port = vlanGatewayPortName(bridge, vlan)
    waitForPort(this.#socket, getLink(this.#socket, { name: port }) === undefined ? vlanGateway : port)
  }

  #create(bridge: Link): FoundGateway {
    const { vlan, vlanGateway: name, duplicateAddressDetection } = this.#config
    const { mtu } = bridge
    try {
      // In one message: whoever finds the gateway finds its port on the bridge.
      addLink(this.#socket, {
        name: vlanGatewayPortName(bridge.name, vlan),
        kind: 'veth',
        mac: highMac(),
        master: bridge.index,
        mtu,
        peer: { name, mac: randomMac(), mtu },
      })
    } catch (error) {
      // Another container's ADD was faster.
      if ((error as { errno?: number }).errno !== Errno.EEXIST) throw error
    }
    prepareGatewaySysctls(name, duplicateAddressDetection)
    const found = findVlanGateway(this.#socket, this.#config, bridge)
    if (found === undefined) throw new CniError(ErrorCode.tryAgainLater, `"${name}" vanished while it was made`)
    return found
  }

  /** Also what an ADD that was killed, or runs at this moment, has not completed yet. */
  #complete(bridge: Link, { link, port }: FoundGateway): Link {
    const { vlan, preserveDefaultVlan } = this.#config
    if (port !== undefined && port.name === vlanGatewayPortName(bridge.name, vlan)) {
      if (!isInVlan(this.#socket, this.#config, port)) {
        replaceVlans(this.#socket, port, [accessVlan(this.#config)], preserveDefaultVlan)
      }
      // Not as those of attachments begin, which GC looks for.
      if (!port.up) {
        setLink(this.#socket, {
          index: port.index,
          up: true,
          alias: `cnikit: gateway of VLAN ${vlan} on ${bridge.name}`,
        })
      }
    }
    if (!link.up) setLink(this.#socket, { index: link.index, up: true })
    return link
  }

  #undo(): void {
    this.#shared.release()
    removeUnusedGateway(this.#socket, this.#config, foreign => this.#addresses.undo(foreign))
  }
}

/**
 * Removes the gateway if no other port of its bridge is in the VLAN.
 * @param otherwise what to do with one that is not used either, but is not ours to remove
 */
export function removeUnusedGateway(
  socket: NetlinkSocket,
  config: VlanGatewayConfig,
  otherwise: (link: Link) => void = () => {},
): void {
  withNamespaceLock(() => {
    const bridge = getLink(socket, { name: config.bridge })
    if (bridge?.kind !== 'bridge') return
    const own = getLink(socket, { name: vlanGatewayPortName(config.bridge, config.vlan) })
    const link = getLink(socket, { name: config.vlanGateway })
    const gatewayPort = own?.index ?? link?.parent
    const used = listBridgePorts(socket, { master: bridge.index }).some(
      // The bridge itself stands among its ports.
      ({ index, vlans }) => index !== bridge.index && index !== gatewayPort && hasVlan(vlans, { id: config.vlan }),
    )
    if (used) return
    if (own !== undefined) deleteLink(socket, { index: own.index }, { missing: 'ignore' })
    else if (link !== undefined) otherwise(link)
  })
}
