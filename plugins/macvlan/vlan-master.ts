/**
 * A master that is made when it is missing: "eth0.10" is VLAN 10 on eth0. It goes with its last user.
 *
 * The host cannot see its users, which are in their containers' namespaces, and nothing is written down that could be
 * wrong after a crash. The kernel is asked instead: a master takes a macvlan in mode passthru only when it has no other
 * link of the kind, wherever, up or down, whoever made it.
 */

import { libc } from '#libc'
import { formatMac, type MacAddress } from '../../lib/address/mac.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Transaction } from '../../lib/cni/transaction.ts'
import { listAddresses } from '../../lib/netlink/route/addr/index.ts'
import {
  addLinkRequest,
  deleteLink,
  deleteLinkRequest,
  getLink,
  type Link,
  listLinks,
  setLinkRequest,
} from '../../lib/netlink/route/link/index.ts'
import { listForwardingEntries } from '../../lib/netlink/route/neigh/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { shareNamespaceLock, withNamespaceLock } from '../../lib/netns/namespace-lock.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { close } from '../../lib/sys/file.ts'
import type { MacvlanConfig } from './config.ts'
import { findMaster, missingMaster } from './master.ts'

/** A VLAN that a master's name stands for. */
interface Vlan {
  readonly name: string
  readonly base: string
  readonly id: number
}

/** IFNAMSIZ - 1, linux/if.h */
const LINK_NAME_BYTES = 15
/** 0 means "no VLAN" and 4095 is reserved. IEEE 802.1Q, 9.6 */
const HIGHEST_VLAN = 4094

/** The alias by which VLANs that were made here are known. */
function aliasOf({ base, id }: Vlan): string {
  return `cnikit: VLAN ${id} of ${base} for macvlan`
}

/** Undefined for a name that stands for none. @throws CniError code 7 for a VLAN that there cannot be */
function vlanOf(name: string | undefined): Vlan | undefined {
  const dot = name?.indexOf('.') ?? -1
  if (name === undefined || dot < 1 || dot !== name.lastIndexOf('.')) return undefined
  const number = name.slice(dot + 1)
  const id = /^\d{1,9}$/.test(number) ? Number(number) : undefined
  if (id === undefined) return undefined
  const wrong =
    id < 1 || id > HIGHEST_VLAN
      ? `VLAN ${id} is not between 1 and ${HIGHEST_VLAN}`
      : new TextEncoder().encode(name).length > LINK_NAME_BYTES
        ? `the name is longer than ${LINK_NAME_BYTES} bytes`
        : undefined
  if (wrong === undefined) return { name, base: name.slice(0, dot), id }
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `master "${name}" does not exist and cannot be made: ${wrong}`,
    'name an interface that exists, or a VLAN on one: "eth0.10"',
  )
}

/** Whether the link is a VLAN that was made here, and so may vanish with its last user. */
function isOurs(link: Link): boolean {
  return link.kind === 'vlan' && (link.alias?.startsWith('cnikit: VLAN ') ?? false)
}

/** The link that a master's VLAN needs beneath it. @throws CniError codes 7 and 109 */
function baseOf(socket: NetlinkSocket, vlan: Vlan, config: MacvlanConfig): Link {
  const base = getLink(socket, { name: vlan.base })
  if (base === undefined) throw missingMaster({ ...config, master: vlan.base })
  if (base.up) return base
  throw new CniError(
    ErrorCode.conflict,
    `"${vlan.base}" is down, and so VLAN ${vlan.id} on it cannot be brought up`,
    `"ip link set ${vlan.base} up" brings it up`,
  )
}

/** For STATUS: the master, or what it would be made on. @throws CniError codes 7, 104 and 109 */
export function findMasterOrBase(socket: NetlinkSocket, config: MacvlanConfig): Link {
  const master = findMaster(socket, config)
  if (master !== undefined) return master
  const vlan = vlanOf(config.master)
  if (vlan === undefined) throw missingMaster(config)
  return baseOf(socket, vlan, config)
}

/**
 * A master in use by one ADD. One that may vanish is used under the namespace's lock, held shared from `use` until
 * `release`, when the container's link keeps it by itself; whoever removes one takes the lock alone.
 */
export class Master {
  readonly #socket: NetlinkSocket
  readonly #config: MacvlanConfig
  #lock: number | undefined

  constructor(socket: NetlinkSocket, config: MacvlanConfig) {
    this.#socket = socket
    this.#config = config
  }

  /** Finds the master, or makes the VLAN that it is. @throws CniError codes 7, 101, 104 and 109 */
  use(transaction: Transaction): Link {
    const found = findMaster(this.#socket, this.#config)
    if (found !== undefined && !isOurs(found)) return found
    const vlan = vlanOf(this.#config.master)
    if (vlan === undefined) throw missingMaster(this.#config)
    return transaction.step(
      `use VLAN "${vlan.name}"`,
      () => {
        this.#lock = shareNamespaceLock()
        try {
          return this.#findOrMake(vlan)
        } catch (error) {
          this.#undo(vlan)
          throw error
        }
      },
      () => this.#undo(vlan),
    )
  }

  /** To be called when the container's link is on it. */
  release(): void {
    if (this.#lock !== undefined) close(this.#lock)
    this.#lock = undefined
  }

  #findOrMake(vlan: Vlan): Link {
    const { name, id } = vlan
    const found = getLink(this.#socket, { name })
    if (found !== undefined && (found.up || !isOurs(found))) return found
    const base = baseOf(this.#socket, vlan, this.#config)
    try {
      this.#socket.executeAll(
        [
          addLinkRequest({ name, kind: 'vlan', parent: base.index, vlan: { id } }),
          setLinkRequest({ name, alias: aliasOf(vlan) }),
          setLinkRequest({ name, up: true }),
        ],
        // Another container's ADD was faster.
        { expected: [Errno.EEXIST] },
      )
    } catch (error) {
      if ((error as { errno?: number }).errno !== Errno.EOPNOTSUPP) throw error
      throw new CniError(
        ErrorCode.kernelFeatureMissing,
        `the kernel cannot make VLAN "${name}"`,
        '"modprobe 8021q" loads what is missing; a kernel without needs CONFIG_VLAN_8021Q',
        { cause: error },
      )
    }
    const made = getLink(this.#socket, { name })
    if (made === undefined) throw new CniError(ErrorCode.tryAgainLater, `VLAN "${name}" vanished while it was made`)
    return made
  }

  #undo({ name }: Vlan): void {
    this.release()
    removeUnusedVlan(this.#socket, name)
  }
}

/**
 * Removes a master that was made here when nothing is on it any more.
 * @param leaving of an interface whose namespace is gone: the kernel takes some milliseconds to clear it up
 */
export function removeUnusedVlan(socket: NetlinkSocket, name: string | undefined, leaving?: MacAddress): void {
  if (name === undefined) return
  const found = getLink(socket, { name })
  if (found === undefined || !isOurs(found)) return
  if (leaving !== undefined) waitUntilGone(socket, found, leaving)
  // Mostly there are others, and then nobody need wait for the lock.
  if (listensTo(socket, found).length > 0) return
  withNamespaceLock(() => {
    const link = getLink(socket, { name })
    if (link !== undefined && isOurs(link) && !isUsed(socket, link)) {
      deleteLink(socket, { index: link.index }, { missing: 'ignore' })
    }
  })
}

const CLEARING_TIMEOUT_MS = 2_000

function waitUntilGone(socket: NetlinkSocket, link: Link, mac: MacAddress): void {
  const deadline = Date.now() + CLEARING_TIMEOUT_MS
  const text = formatMac(mac)
  while (listensTo(socket, link).some(one => formatMac(one) === text) && Date.now() < deadline) libc.usleep(10_000)
}

/** The addresses of the macvlans that are up on a master, whatever namespaces they are in: it has to listen to them. */
function listensTo(socket: NetlinkSocket, { index }: Link): MacAddress[] {
  const macs = listForwardingEntries(socket, { index }).map(({ mac }) => mac)
  return macs.filter(mac => ((mac[0] ?? 0) & 1) === 0)
}

/** A link that is there for no more than a moment, with which the kernel is asked. */
export const PROBE = 'cnikit-probe'

function isUsed(socket: NetlinkSocket, { index, master }: Link): boolean {
  // What an administrator has come to use it for.
  if (master !== undefined || listLinks(socket).some(one => one.parent === index)) return true
  if (listAddresses(socket, { index }).some(({ scope }) => scope < LINK_SCOPE)) return true
  // In one datagram: a plugin that is killed leaves no probe, in whose way others would be.
  const [refused] = socket.tryAll([
    addLinkRequest({ name: PROBE, kind: 'macvlan', parent: index, macvlan: { mode: 'passthru' } }),
    deleteLinkRequest({ name: PROBE }),
  ])
  return refused !== undefined
}

/** RT_SCOPE_LINK, linux/rtnetlink.h: the kernel's own IPv6 addresses have it. */
const LINK_SCOPE = 253
