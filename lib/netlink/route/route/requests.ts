/** `ip route`: what is asked of the kernel. */

import { type Family, familyOf, formatAddress, type IpAddress } from '../../../address/address.ts'
import { formatPrefix, networkAddress, type Prefix } from '../../../address/prefix.ts'
import { NLM_F, type Request, request } from '../../message.ts'
import { familyNumber } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { numberOf } from '../value-codecs.ts'
import { RouteFlag, RouteProtocol, RouteScope, RouteTable, type RouteType, routeTypes } from './constants.ts'
import { routeFormat } from './message.ts'
import { gatewayAttributes, type NextHop, type RouteMetrics } from './route.ts'

export interface NewRoute {
  /** 0.0.0.0/0 or ::/0 for a default route. Host bits are cleared. */
  readonly destination: Prefix
  /** Default "unicast". */
  readonly type?: RouteType | undefined
  /** Index of the link. May be left out with a gateway: the kernel then looks it up. */
  readonly index?: number | undefined
  readonly gateway?: IpAddress | undefined
  /** Several next hops, in place of `index` and `gateway`. */
  readonly nextHops?: readonly NextHop[] | undefined
  /** Lower wins. Default: 0 in IPv4, 1024 in IPv6. */
  readonly priority?: number | undefined
  /** Default 254, main. */
  readonly table?: number | undefined
  /** RT_SCOPE_*. Default as in `ip route`: 0 with a gateway, 253 (link) without, 254 (host) for local ones. */
  readonly scope?: number | undefined
  /** RTPROT_*. Default 3, boot, as in `ip route`. */
  readonly protocol?: number | undefined
  /** The address that the host uses as its own. */
  readonly preferredSource?: IpAddress | undefined
  /** The gateway is on the link although no route says so. */
  readonly onLink?: boolean | undefined
  readonly mtu?: number | undefined
  readonly advmss?: number | undefined
  /** Further metrics. */
  readonly metrics?: RouteMetrics | undefined
  readonly tos?: number | undefined
}

function scopeOf(route: NewRoute): number {
  if (route.scope !== undefined) return route.scope
  if (route.type === 'local' || route.type === 'nat') return RouteScope.host
  if (route.type === 'broadcast' || route.type === 'multicast' || route.type === 'anycast') return RouteScope.link
  const onLink = (route.type ?? 'unicast') === 'unicast' && !route.gateway && !route.nextHops
  return onLink ? RouteScope.link : RouteScope.universe
}

function encodeNextHop(family: Family, hop: NextHop) {
  return {
    index: hop.index,
    hops: (hop.weight ?? 1) - 1,
    flags: hop.onLink ? RouteFlag.onLink : 0,
    attributes: gatewayAttributes(family, hop.gateway),
  }
}

function messageFor(route: NewRoute, scope: number) {
  const { destination, table = RouteTable.main } = route
  const family = familyOf(destination.address)
  const metrics = {
    ...route.metrics,
    mtu: route.mtu ?? route.metrics?.mtu,
    advmss: route.advmss ?? route.metrics?.advmss,
  }
  return {
    header: {
      family: familyNumber(family),
      destinationLength: destination.length,
      tos: route.tos ?? 0,
      table: table < 256 ? table : 0,
      scope,
      flags: route.onLink ? RouteFlag.onLink : 0,
    },
    attributes: {
      // The header has room for small numbers.
      table: table < 256 ? undefined : table,
      dst: destination.length === 0 ? undefined : networkAddress(destination),
      oif: route.index,
      ...gatewayAttributes(family, route.gateway),
      priority: route.priority,
      prefsrc: route.preferredSource,
      metrics: Object.values(metrics).some(value => value !== undefined) ? metrics : undefined,
      multipath: route.nextHops?.map(hop => encodeNextHop(family, hop)),
    },
  }
}

function describe(verb: string, route: NewRoute): string {
  const words = [`${verb} route ${formatPrefix(route.destination)}`]
  if (route.gateway !== undefined) words.push(`via ${formatAddress(route.gateway)}`)
  if (route.index !== undefined) words.push(`on link ${route.index}`)
  if (route.table !== undefined) words.push(`in table ${route.table}`)
  return words.join(' ')
}

function newRouteRequest(verb: string, flags: number, route: NewRoute): Request {
  const { header, attributes } = messageFor(route, scopeOf(route))
  return request(routeFormat, {
    type: RouteMessage.newRoute,
    flags: NLM_F.CREATE | flags,
    operation: describe(verb, route),
    header: {
      ...header,
      type: numberOf(routeTypes, route.type ?? 'unicast'),
      protocol: route.protocol ?? RouteProtocol.boot,
    },
    attributes,
  })
}

/** `ip route add`. There must be no route of the same destination, priority and table. */
export function addRouteRequest(route: NewRoute): Request {
  return newRouteRequest('add', NLM_F.EXCL, route)
}

/** `ip route replace`. */
export function replaceRouteRequest(route: NewRoute): Request {
  return newRouteRequest('replace', NLM_F.REPLACE, route)
}

/** `ip route append`: one more of the same destination; in IPv6 one more next hop. */
export function appendRouteRequest(route: NewRoute): Request {
  return newRouteRequest('append', NLM_F.APPEND, route)
}

/** `ip route delete`: the first route that matches what is given. */
export function deleteRouteRequest(route: NewRoute): Request {
  const { header, attributes } = messageFor(route, route.scope ?? RouteScope.nowhere)
  return request(routeFormat, {
    type: RouteMessage.deleteRoute,
    operation: describe('delete', route),
    header: {
      ...header,
      type: route.type === undefined ? 0 : numberOf(routeTypes, route.type),
      protocol: route.protocol ?? RouteProtocol.unspecified,
    },
    attributes,
  })
}
