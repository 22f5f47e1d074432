/** A route as the kernel reports it. */

import { type Family, familyOf, type IpAddress } from '../../../address/address.ts'
import type { Prefix } from '../../../address/prefix.ts'
import type { Values } from '../../codec.ts'
import type { Answer } from '../../message.ts'
import { anyAddress, familyFromNumber, familyNumberOf } from '../family.ts'
import { present } from '../present.ts'
import { nameOf } from '../value-codecs.ts'
import { RouteFlag, type RouteType, routeTypes } from './constants.ts'
import type { metricAttributes, NextHopMessage, RouteHeader, routeFormat } from './message.ts'

export type RouteMetrics = Values<typeof metricAttributes>

export interface NextHop {
  /** Of the link. */
  readonly index: number
  readonly gateway?: IpAddress
  /** 1 to 256; default 1. */
  readonly weight?: number
  readonly onLink?: boolean
}

export interface Route {
  readonly family: Family
  /** 0.0.0.0/0 or ::/0 for a default route. */
  readonly destination: Prefix
  readonly type: RouteType | number
  /** Index of the link; absent with several next hops, and for routes that drop packets in IPv4. */
  readonly index?: number
  /** May be of another family than the destination. */
  readonly gateway?: IpAddress
  /** Present when there are several. */
  readonly nextHops?: readonly NextHop[]
  /** IPv4: 0 when none was given; IPv6: 1024 then. Lower wins. */
  readonly priority: number
  readonly table: number
  readonly scope: number
  readonly protocol: number
  /** The address that the host uses as its own. */
  readonly preferredSource?: IpAddress
  /** IPv6: only for packets from here. */
  readonly source?: Prefix
  readonly onLink: boolean
  readonly tos: number
  /** Bits of RouteFlag. */
  readonly flags: number
  readonly metrics: RouteMetrics
  readonly nextHopId?: number
}

type RouteAnswer = Answer<RouteHeader, (typeof routeFormat)['attributes']>

/** Undefined for a route that is not IP. */
export function decodeRoute({ header, attributes }: RouteAnswer): Route | undefined {
  const family = familyFromNumber(header.family)
  if (family === undefined) return undefined
  const metrics = attributes.metrics ?? {}
  const flags = header.flags ?? 0
  return {
    family,
    destination: { address: attributes.dst ?? anyAddress(family), length: header.destinationLength ?? 0 },
    type: nameOf(routeTypes, header.type ?? 0),
    priority: attributes.priority ?? 0,
    table: attributes.table ?? header.table ?? 0,
    scope: header.scope ?? 0,
    protocol: header.protocol ?? 0,
    onLink: (flags & RouteFlag.onLink) !== 0,
    tos: header.tos ?? 0,
    flags,
    metrics,
    ...present({
      index: attributes.oif,
      gateway: attributes.gateway ?? attributes.via?.address,
      nextHops: attributes.multipath?.map(decodeNextHop),
      preferredSource: attributes.prefsrc,
      source: attributes.src && { address: attributes.src, length: header.sourceLength ?? 0 },
      nextHopId: attributes.nhId,
    }),
  }
}

function decodeNextHop(hop: NextHopMessage): NextHop {
  const gateway = hop.attributes.gateway ?? hop.attributes.via?.address
  return {
    index: hop.index,
    weight: hop.hops + 1,
    ...(gateway === undefined ? {} : { gateway }),
    ...(hop.flags & RouteFlag.onLink ? { onLink: true } : {}),
  }
}

/** A gateway of the destination's own family has an attribute of its own. */
export function gatewayAttributes(family: Family, gateway: IpAddress | undefined) {
  if (gateway === undefined) return {}
  if (familyOf(gateway) === family) return { gateway }
  return { via: { family: familyNumberOf(gateway), address: gateway } }
}
