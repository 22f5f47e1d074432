/** This host in the cluster: its name is nobody else's, and the others see whether it lives. */

import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { formatAddress } from '../lib/address/address.ts'
import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import { getLink } from '../lib/netlink/route/link/index.ts'
import { NetlinkProtocol, NetlinkSocket } from '../lib/netlink/socket.ts'
import { addressOfLink, linkOfLocal } from '../lib/overlay/underlay.ts'
import { keys } from './etcd/keys.ts'
import type { Store } from './etcd/store.ts'
import type { NodeRecord } from './records.ts'
import type { Settings } from './settings.ts'

/**
 * The tunnel address that the settings name or mean.
 * @throws CniError code 109 when the host does not have it: perhaps it has just been started, and gets it soon
 */
export function findTunnelAddress(tunnel: Settings['tunnel']): string {
  const socket = new NetlinkSocket(NetlinkProtocol.route)
  try {
    if ('address' in tunnel) {
      linkOfLocal(socket, tunnel.address)
      return formatAddress(tunnel.address)
    }
    const link = getLink(socket, { name: tunnel.interface })
    if (link !== undefined) return formatAddress(addressOfLink(socket, link, tunnel.family))
    throw notYet(`there is no interface "${tunnel.interface}"`)
  } catch (error) {
    throw error instanceof CniError ? notYet(error.message) : error
  } finally {
    socket.close()
  }
}

function notYet(message: string): CniError {
  return new CniError(
    ErrorCode.linkMissing,
    message,
    'set "address" to one that "ip address" shows, or "interface" to one that has an address of "family"; a host that boots may get it later',
  )
}

/** The kernel's mark of this boot: what ran before it runs no more. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

/**
 * Puts the node's key under its lease.
 * @throws CniError code 104 when another host that lives has the name
 */
export async function registerNode(store: Store, node: string, local: string, version: string): Promise<void> {
  const key = keys.node(node)
  const record: NodeRecord = { address: local, hostname: hostname(), version, started: new Date().toISOString() }
  for (;;) {
    const present = await store.get<NodeRecord>(key)
    // A host that got another address has another name, or waits until its old record has run out.
    if (present !== undefined && (present.value.address !== local || present.value.hostname !== record.hostname)) {
      throw new CniError(
        ErrorCode.conflict,
        `node "${node}" is already in the cluster: ${present.value.hostname} with tunnel address ${present.value.address}`,
        'give this host another "node" name; if it is this host with a new address, the record ends with its lease',
      )
    }
    if (await store.compareAndSet(key, present?.revision ?? 0, record, { leased: true })) return
  }
}
