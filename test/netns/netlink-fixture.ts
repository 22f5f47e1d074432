/** What the tests of lib/netlink/route share: a namespace with a socket in it, and addresses written as text. */

import type { Test } from 'tap'
import { formatAddress, type IpAddress, parseAddress } from '../../lib/address/address.ts'
import { formatMac, type MacAddress, parseMac } from '../../lib/address/mac.ts'
import { formatPrefix, type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import { NetlinkError } from '../../lib/netlink/error.ts'
import { addLink, getLink, type Link, type NewLink } from '../../lib/netlink/route/link/index.ts'
import { NetlinkProtocol, type NetlinkSocket } from '../../lib/netlink/socket.ts'
import { openNamespace } from '../../lib/netns/index.ts'
import { type Host, type NetworkNamespace, withHost } from '../harness/index.ts'

/** A route socket of the namespace; the caller closes it. */
export function openRouteSocket(namespace: NetworkNamespace): NetlinkSocket {
  const opened = openNamespace(namespace.path)
  try {
    return opened.openSocket(NetlinkProtocol.route)
  } finally {
    opened.close()
  }
}

/** Runs a test in an empty namespace, with a socket in it. */
export function withRouteSocket(
  t: Test,
  run: (socket: NetlinkSocket, host: Host) => void | Promise<void>,
): Promise<void> {
  return withHost(t, async host => {
    const socket = openRouteSocket(host)
    try {
      await run(socket, host)
    } finally {
      socket.close()
    }
  })
}

function parsed<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new TypeError(`not what it should be: ${text}`)
  return value
}

export const address = (text: string): IpAddress => parsed(parseAddress(text), text)
export const prefix = (text: string): Prefix => parsed(parsePrefix(text), text)
export const mac = (text: string): MacAddress => parsed(parseMac(text), text)

/** Makes the link and reads it. */
export function makeLink(socket: NetlinkSocket, link: NewLink): Link {
  addLink(socket, link)
  return findLink(socket, link.name)
}

/** A link that must be there. */
export function findLink(socket: NetlinkSocket, name: string): Link {
  return parsed(getLink(socket, { name }), name)
}

/** A link as "ip -j -d" prints it. */
export interface ShownLink {
  readonly ifindex: number
  readonly ifname: string
  readonly flags: readonly string[]
  readonly mtu: number
  readonly operstate: string
  readonly group: string
  readonly txqlen?: number
  readonly address?: string
  readonly master?: string
  readonly link?: string | null
  readonly link_index?: number
  readonly ifalias?: string
  readonly altnames?: readonly string[]
  readonly promiscuity?: number
  readonly min_mtu?: number
  readonly max_mtu?: number
  readonly num_tx_queues?: number
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: Readonly<Record<string, unknown>> }
}

/** As ip shows a link, which must be there. */
export function shownLink(host: Host, name: string): ShownLink {
  const [link] = host.show<ShownLink[]>('link', 'show', 'dev', name)
  if (link === undefined) throw new Error(`ip shows no link ${name}`)
  return link
}

/** The kernel's refusal of what is run. */
export function refusal(run: () => unknown): NetlinkError {
  try {
    run()
  } catch (error) {
    if (error instanceof NetlinkError) return error
    throw error
  }
  throw new Error('the kernel has not refused')
}

/** Runs ip(8) commands of one address family, one a line. */
export function ip(namespace: NetworkNamespace, family: 4 | 6, commands: string): void {
  namespace.output(['ip', `-${family}`, '-batch', '-'], { input: `${commands.trim()}\n` })
}

/** Objects in an order of their own, for comparing lists that come in different orders. */
export const sorted = (objects: readonly object[]): string[] => objects.map(object => JSON.stringify(object)).sort()

/** A value as text where it is an address, a prefix or a MAC address, for comparing with what ip(8) prints. */
export const text = {
  address: (value: IpAddress | undefined): string | undefined => value && formatAddress(value),
  prefix: (value: Prefix | undefined): string | undefined => value && formatPrefix(value),
  mac: (value: MacAddress | undefined): string | undefined => value && formatMac(value),
}
