/**
 * A network on this host, shared by its containers: made for the first, removed with the last. As with a bridge, what
 * one ADD has made is only undone while nobody else has come to rely on it.
 */

import type { IpAddress } from '../address/address.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { Transaction } from '../cni/transaction.ts'
import type { Link } from '../netlink/route/link/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { deleteNamespace } from '../netns/index.ts'
import { close } from '../sys/file.ts'
import { overlayAlias, overlayNamespaceName } from './names.ts'
import {
  attachmentPorts,
  createOverlay,
  type OverlayNamespace,
  openOverlay,
  removeOverlay,
  withOverlay,
} from './namespace.ts'
import { lockNetwork, removeNetworkLock } from './network-lock.ts'
import { deletePeers, hasPeerFilter, setPeers } from './peers.ts'
import {
  adjustVxlan,
  createBridge,
  createVxlan,
  deleteVxlan,
  isSameTunnel,
  setFloodPeers,
  startBridge,
  startVxlan,
  type Tunnel,
} from './vxlan.ts'

/** How a network is to be on this host. */
export interface OverlaySettings {
  readonly network: string
  /** All that the configuration says of it: while it stays the same, nothing is looked up and nothing is changed. */
  readonly settings: unknown
  /** Whether `peers` gives any: then the peer filter is looked for, which a reload of the firewall takes away. */
  readonly filtered: boolean
  /** Looks up what is left to be found out; only called when there is something to be made. */
  resolve(host: NetlinkSocket): Tunnel
  /** Whether an agent keeps peers and entries. */
  readonly agent: boolean
  /** The other hosts, for head-end replication and the peer filter; undefined when they are not known here. */
  peers(tunnel: Tunnel): readonly IpAddress[] | undefined
}

/** Where an attachment's port is to be. */
export interface ReadyOverlay {
  readonly overlay: OverlayNamespace
  readonly bridge: Link
  readonly mtu: number
}

/**
 * A network in use by one ADD. From `use` until `release` the network's lock is held, so that nobody removes the network
 * before the container's port is there.
 */
export class SharedOverlay {
  readonly #host: NetlinkSocket
  readonly #wanted: OverlaySettings
  readonly #alias: string
  #lock: number | undefined
  #overlay: OverlayNamespace | undefined

  constructor(host: NetlinkSocket, wanted: OverlaySettings) {
    this.#host = host
    this.#wanted = wanted
    this.#alias = overlayAlias(wanted.network, wanted.settings)
  }

  /** Finds or makes all that the network needs on this host. */
  use(transaction: Transaction): ReadyOverlay {
    const { network } = this.#wanted
    return transaction.step(
      `use network "${network}"`,
      () => {
        try {
          return this.#find() ?? this.#make()
        } catch (error) {
          this.#undo()
          throw error
        }
      },
      () => this.#undo(),
    )
  }

  /** To be called when the port is attached: it keeps the network by itself. */
  release(): void {
    if (this.#lock !== undefined) close(this.#lock)
    this.#lock = undefined
  }

  /** Closes what is open, when ADD has come to its end. */
  close(): void {
    this.release()
    this.#overlay?.close()
    this.#overlay = undefined
  }

  /** The network, if it is here and as it is wanted. */
  #find(): ReadyOverlay | undefined {
    this.#lock = lockNetwork(overlayNamespaceName(this.#wanted.network), { shared: true })
    this.#overlay = openOverlay(this.#wanted.network)
    if (this.#overlay !== undefined) {
      const { vxlan, bridge } = this.#overlay
      if (bridge?.up && vxlan?.up && vxlan.alias === this.#alias && vxlan.master === bridge.index) {
        if (!this.#wanted.filtered || isFiltered(vxlan)) return { overlay: this.#overlay, bridge, mtu: vxlan.mtu }
      }
    }
    this.close()
    return undefined
  }

  /** Makes or mends whatever is missing. */
  #make(): ReadyOverlay {
    const { network } = this.#wanted
    this.#lock = lockNetwork(overlayNamespaceName(network))
    const tunnel = this.#wanted.resolve(this.#host)
    const overlay = openOverlay(network) ?? createOverlay(network)
    this.#overlay = overlay
    if (overlay.bridge === undefined) createBridge(overlay)
    startBridge(overlay)
    const bridge = mustHave(overlay.bridge, network)
    this.#removeOther(overlay, tunnel)
    const isNew = overlay.vxlan === undefined
    if (isNew) createVxlan(this.#host, overlay, tunnel)
    const vxlan = mustHave(overlay.vxlan, network)
    adjustVxlan(overlay, { vxlan, bridge }, tunnel)
    const { port, vni } = tunnel
    const peers = this.#wanted.peers(tunnel)
    // Before the first packet passes. An agent lets its hosts in when the network is there.
    if (peers !== undefined) setPeers({ network, port, vni, peers })
    else if (!this.#wanted.agent) deletePeers(network).close()
    else if (isNew) setPeers({ network, port, vni, peers: [] })
    if (peers !== undefined && tunnel.multicast === undefined) setFloodPeers(overlay, vxlan, peers)
    startVxlan(overlay, tunnel, this.#alias)
    return { overlay, bridge, mtu: tunnel.mtu }
  }

  /** Takes away a device with other settings, unless containers use it. @throws CniError code 104 */
  #removeOther(overlay: OverlayNamespace, tunnel: Tunnel): void {
    const { vxlan } = overlay
    if (vxlan === undefined || isSameTunnel(vxlan, tunnel)) return
    const { network } = this.#wanted
    const used = attachmentPorts(overlay, network).length
    if (used > 0) {
      throw new CniError(
        ErrorCode.conflict,
        `network "${network}" runs on this host with VNI ${vxlan.vxlan?.id} on port ${vxlan.vxlan?.port} and other settings than the configuration's`,
        `${used} containers use it: delete them before the network is changed, or give the new one another name`,
      )
    }
    deleteVxlan(overlay)
  }

  #undo(): void {
    this.close()
    removeUnusedOverlay(this.#wanted.network)
  }
}

function isFiltered({ vxlan }: Link): boolean {
  return hasPeerFilter(vxlan?.port ?? 0, vxlan?.id ?? 0)
}

function mustHave(link: Link | undefined, network: string): Link {
  if (link !== undefined) return link
  throw new CniError(ErrorCode.tryAgainLater, `a link of network "${network}" vanished while it was made`)
}

/** Removes a network that no container of this host uses. */
export function removeUnusedOverlay(network: string): void {
  const isUsed = withOverlay(network, overlay => overlay !== undefined && attachmentPorts(overlay, network).length > 0)
  if (isUsed) return
  const name = overlayNamespaceName(network)
  const lock = lockNetwork(name)
  try {
    const overlay = openOverlay(network)
    if (overlay === undefined) {
      // Somebody unmounted the namespace, or an ADD was killed before it mounted it; the firewall does not know.
      deleteNamespace(name)
      deletePeers(network).close()
    } else {
      try {
        if (attachmentPorts(overlay, network).length > 0) return
        // First: the two wait for the kernel together then.
        const pending = deletePeers(network)
        removeOverlay(overlay, network)
        pending.close()
      } finally {
        overlay.close()
      }
    }
    removeNetworkLock(name)
  } finally {
    close(lock)
  }
}
