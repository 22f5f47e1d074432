/** `ip address`: what is asked of the kernel. */

import { formatAddress, type IpAddress } from '../../../address/address.ts'
import { formatPrefix, lastAddress, type Prefix } from '../../../address/prefix.ts'
import { NLM_F, type Request, request } from '../../message.ts'
import { familyNumberOf } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { AddressFlag, addressFormat, FOREVER } from './address.ts'

export interface NewAddress {
  /** Of the link. */
  readonly index: number
  /** The link's name, for messages. */
  readonly name?: string | undefined
  readonly prefix: Prefix
  /** The other end of a point-to-point link; the prefix length is then that of its network. */
  readonly peer?: IpAddress | undefined
  /** IPv4. Default: the last address of the prefix, none for /31, /32 and with a peer. `false` for none. */
  readonly broadcast?: IpAddress | false | undefined
  /** RT_SCOPE_*; default 0, global. */
  readonly scope?: number | undefined
  /** IPv6: usable at once, without duplicate address detection. */
  readonly noDad?: boolean | undefined
  /** Without the route that the kernel adds for the prefix. */
  readonly noPrefixRoute?: boolean | undefined
  /** Priority of that route. */
  readonly priority?: number | undefined
  /** Seconds; default for ever. */
  readonly validSeconds?: number | undefined
  readonly preferredSeconds?: number | undefined
  /** IPv4: the link's name with ":" and more. */
  readonly label?: string | undefined
}

function broadcastOf({ prefix, peer, broadcast }: NewAddress): IpAddress | undefined {
  if (broadcast !== undefined) return broadcast === false ? undefined : broadcast
  return prefix.address.length === 4 && prefix.length < 31 && peer === undefined ? lastAddress(prefix) : undefined
}

function messageFor(address: NewAddress) {
  const { prefix, peer } = address
  return {
    header: {
      family: familyNumberOf(prefix.address),
      prefixLength: prefix.length,
      scope: address.scope ?? 0,
      index: address.index,
    },
    attributes: { local: prefix.address, address: peer ?? prefix.address, label: address.label },
  }
}

function describe(verb: string, { prefix, peer, index, name }: NewAddress): string {
  const address = formatPrefix(prefix) + (peer === undefined ? '' : ` peer ${formatAddress(peer)}`)
  return `${verb} address ${address} ${verb === 'delete' ? 'of' : 'to'} link ${name === undefined ? index : JSON.stringify(name)}`
}

function newAddressRequest(verb: string, flags: number, address: NewAddress): Request {
  const { header, attributes } = messageFor(address)
  const { validSeconds, preferredSeconds } = address
  const bits = (address.noDad ? AddressFlag.noDad : 0) | (address.noPrefixRoute ? AddressFlag.noPrefixRoute : 0)
  return request(addressFormat, {
    type: RouteMessage.newAddress,
    flags: NLM_F.CREATE | flags,
    operation: describe(verb, address),
    header: { ...header, flags: bits > 0xff ? 0 : bits },
    attributes: {
      ...attributes,
      broadcast: broadcastOf(address),
      // The header has room for eight of them.
      flags: bits > 0xff ? bits : undefined,
      rtPriority: address.priority,
      ...(validSeconds === undefined && preferredSeconds === undefined
        ? {}
        : { cacheinfo: { valid: validSeconds ?? FOREVER, preferred: preferredSeconds ?? validSeconds ?? FOREVER } }),
    },
  })
}

/** `ip address add`. The link must not have it yet. */
export function addAddressRequest(address: NewAddress): Request {
  return newAddressRequest('add', NLM_F.EXCL, address)
}

/** `ip address replace`: as `add`; an address that is there gets the new lifetimes and flags. */
export function replaceAddressRequest(address: NewAddress): Request {
  return newAddressRequest('set', NLM_F.REPLACE, address)
}

/** `ip address delete`. */
export function deleteAddressRequest(address: NewAddress): Request {
  return request(addressFormat, {
    type: RouteMessage.deleteAddress,
    operation: describe('delete', address),
    ...messageFor(address),
  })
}
