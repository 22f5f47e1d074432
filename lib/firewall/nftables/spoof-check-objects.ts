/**
 * Where the state of the MAC spoof check is, and how it is named:
 *
 *     table bridge cnikit {
 *       set spoof-check/allowed {
 *         type ifname . ether_addr
 *         elements = { "veth3f0e4c21a90" . 0a:58:0a:01:00:05 comment "podnet 3f0e... eth0" }   one for each attachment
 *       }
 *       chain spoof-check/prerouting {
 *         type filter hook prerouting priority -300; policy accept;
 *         iifgroup 6516331 iifname . ether saddr != @spoof-check/allowed drop
 *       }
 *     }
 *
 * That a port is to be checked says its link group, and not a second set: a frame from any other port costs one
 * comparison, and a port whose element is not there yet, or no longer, lets nothing pass. One set for all networks, as
 * one rule then does for all; its comments name the network. The bridge is not matched: that would need the kernel's
 * NFT_BRIDGE_META, and a port is on one bridge only.
 */

import type { MacAddress } from '../../address/mac.ts'
import type { Request } from '../../netlink/message.ts'
import { type ChainName, createChain } from '../../netlink/netfilter/chain.ts'
import { REGISTER_1, REGISTER_2 } from '../../netlink/netfilter/data.ts'
import { compare, etherSource, meta, notInSet, verdict } from '../../netlink/netfilter/expressions.ts'
import { createRule } from '../../netlink/netfilter/rule.ts'
import { createSet, type SetName } from '../../netlink/netfilter/set.ts'
import type { TableName } from '../../netlink/netfilter/table.ts'
import { allocate, encodeText } from '../../sys/bytes.ts'

/** The link group (`ip link set group`) of ports that are checked: the letters "cnk". */
export const CHECKED_PORTS_GROUP = 0x636e6b

export const spoofCheckTable: TableName = { family: 'bridge', table: 'cnikit' }
export const spoofCheckChain: ChainName = { ...spoofCheckTable, chain: 'spoof-check/prerouting' }
export const allowedSources: SetName = { ...spoofCheckTable, set: 'spoof-check/allowed' }

/** NF_BR_PRI_NAT_DST_BRIDGED, linux/netfilter_bridge.h: the first of the kernel's own. */
const FIRST_PRIORITY = -300
/** IFNAMSIZ, linux/if.h. */
const INTERFACE_NAME_BYTES = 16

/** A port of a bridge and the only address that frames from it may come from. */
export interface AllowedSource {
  readonly port: string
  readonly mac: MacAddress
}

/** The element's key: name and address, each padded to whole registers of 4 bytes. */
export function sourceKey({ port, mac }: AllowedSource): Uint8Array {
  const key = allocate(INTERFACE_NAME_BYTES + 8)
  key.set(encodeText(port).subarray(0, INTERFACE_NAME_BYTES - 1))
  key.set(mac, INTERFACE_NAME_BYTES)
  return key
}

/** The base chain, which must not exist. */
export function createSpoofCheckChain(): Request[] {
  const base = { type: 'filter', hook: 'prerouting', priority: FIRST_PRIORITY } as const
  return [createChain(spoofCheckChain, base, { exclusive: true })]
}

/** In the host's byte order, as the kernel loads it. */
const checkedPortsGroup = new Uint8Array(Uint32Array.of(CHECKED_PORTS_GROUP).buffer)

/** The one rule. */
export function createSpoofCheckRule(): Request {
  return createRule(spoofCheckChain, [
    meta('iifgroup'),
    compare('eq', checkedPortsGroup),
    meta('iifname', REGISTER_1),
    etherSource(REGISTER_2),
    notInSet(allowedSources.set, REGISTER_1),
    verdict('drop'),
  ])
}

/** The set, which must not exist. */
export function createAllowedSources(): Request {
  return createSet(allowedSources, { key: ['ifname', 'ether_addr'] }, { exclusive: true })
}
