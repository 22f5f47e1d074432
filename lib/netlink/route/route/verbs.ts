/** `ip route`: requests sent and answered at once. */

import { type Family, familyOf, formatAddress, type IpAddress } from '../../../address/address.ts'
import { comparePrefixes, type Prefix } from '../../../address/prefix.ts'
import { Errno } from '../../../sys/errno.ts'
import { NetlinkError } from '../../error.ts'
import { request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { familyNumber, familyNumberOf } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { numberOf } from '../value-codecs.ts'
import { type RouteType, routeTypes } from './constants.ts'
import { routeFormat } from './message.ts'
import { addRouteRequest, deleteRouteRequest, type NewRoute, replaceRouteRequest } from './requests.ts'
import { decodeRoute, type Route } from './route.ts'

/** @throws NetlinkError, EEXIST when there is one of the same destination, priority and table */
export function addRoute(socket: NetlinkSocket, route: NewRoute): void {
  socket.execute(addRouteRequest(route))
}

/** @throws NetlinkError */
export function replaceRoute(socket: NetlinkSocket, route: NewRoute): void {
  socket.execute(replaceRouteRequest(route))
}

/**
 * Deletes the first route that matches what is given.
 * @param options.missing "ignore" to accept that there is none
 * @returns whether there was one
 * @throws NetlinkError
 */
export function deleteRoute(socket: NetlinkSocket, route: NewRoute, options: { missing?: 'ignore' } = {}): boolean {
  const [failure] = socket.tryAll([deleteRouteRequest(route)])
  if (failure === undefined) return true
  // ENODEV: its link is gone, and the route with it.
  if (options.missing === 'ignore' && (failure.errno === Errno.ESRCH || failure.errno === Errno.ENODEV)) return false
  throw failure
}

/** Which routes; when empty, those of every table, `local` included. */
export interface RouteFilter {
  readonly family?: Family | undefined
  readonly table?: number | undefined
  /** Index of the link, also among several next hops. */
  readonly index?: number | undefined
  readonly protocol?: number | undefined
  readonly type?: RouteType | undefined
  readonly destination?: Prefix | undefined
}

/** @throws NetlinkError */
export function listRoutes(socket: NetlinkSocket, filter: RouteFilter = {}): Route[] {
  const { destination } = filter
  const family = filter.family ?? (destination && familyOf(destination.address))
  const families: readonly Family[] = family === undefined ? [4, 6] : [family]
  const routes = families.flatMap(one => listFamily(socket, one, filter))
  return destination === undefined
    ? routes
    : routes.filter(route => comparePrefixes(route.destination, destination) === 0)
}

function listFamily(socket: NetlinkSocket, family: Family, filter: RouteFilter): Route[] {
  const { table, index } = filter
  try {
    const answers = socket.dump(
      routeFormat,
      request(routeFormat, {
        type: RouteMessage.getRoute,
        operation: `list IPv${family} routes`,
        header: {
          family: familyNumber(family),
          protocol: filter.protocol ?? 0,
          type: filter.type === undefined ? 0 : numberOf(routeTypes, filter.type),
        },
        attributes: { table, oif: index },
      }),
    )
    // A kernel without IPv6 answers with everything it has.
    return answers.map(decodeRoute).filter(route => route !== undefined && route.family === family) as Route[]
  } catch (error) {
    // A table exists as long as it has a route, a link as long as nobody deletes it: neither has routes.
    if (error instanceof NetlinkError && (error.errno === Errno.ENOENT || error.errno === Errno.ENODEV)) return []
    throw error
  }
}

export interface RouteLookup {
  readonly destination: IpAddress
  readonly source?: IpAddress | undefined
  /** Index of the link that the packet is to leave by. */
  readonly index?: number | undefined
  /** Index of the link that the packet came in by. */
  readonly incomingIndex?: number | undefined
  readonly mark?: number | undefined
}

/** The priority of the entry that IPv6 answers with when there is no route. */
const NO_ROUTE_PRIORITY = 0xffffffff

/** `ip route get`: which way a packet would go; undefined when there is none. @throws NetlinkError */
export function getRoute(socket: NetlinkSocket, lookup: RouteLookup): Route | undefined {
  const { destination, source } = lookup
  try {
    const answer = socket.get(
      routeFormat,
      request(routeFormat, {
        type: RouteMessage.getRoute,
        operation: `look up route to ${formatAddress(destination)}`,
        header: {
          family: familyNumberOf(destination),
          destinationLength: destination.length * 8,
          sourceLength: source === undefined ? 0 : source.length * 8,
        },
        attributes: {
          dst: destination,
          src: source,
          oif: lookup.index,
          iif: lookup.incomingIndex,
          mark: lookup.mark,
        },
      }),
    )
    const route = answer && decodeRoute(answer)
    return route?.type === 'unreachable' && route.priority === NO_ROUTE_PRIORITY ? undefined : route
  } catch (error) {
    if (error instanceof NetlinkError && (error.errno === Errno.ENETUNREACH || error.errno === Errno.EHOSTUNREACH))
      return undefined
    throw error
  }
}
