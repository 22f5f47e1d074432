/** A result for a person. */

import type { Dns, Result, Route } from '../../lib/cni/types.ts'
import { table } from './table.ts'

/** The interfaces, addresses, routes and name servers of a result, a paragraph each. */
export function resultParagraphs(result: Result): string[][] {
  const interfaces = result.interfaces ?? []
  return [
    table(
      ['interface', 'mac', 'mtu', 'where'],
      interfaces.map(link => ({
        interface: link.name,
        mac: link.mac,
        mtu: link.mtu,
        where: link.sandbox ? link.sandbox : 'host',
      })),
    ),
    table(
      ['address', 'interface', 'gateway'],
      (result.ips ?? []).map(ip => ({
        address: ip.address,
        interface: ip.interface === undefined ? undefined : (interfaces[ip.interface]?.name ?? `#${ip.interface}`),
        gateway: ip.gateway,
      })),
    ),
    table(['route', 'via', 'mtu', 'advmss', 'priority', 'table', 'scope'], (result.routes ?? []).map(routeRow)),
    dnsLines(result.dns ?? {}),
  ]
}

function routeRow(route: Route) {
  const { dst, gw, mtu, advmss, priority, table: routingTable, scope } = route
  return { route: dst, via: gw, mtu, advmss, priority, table: routingTable, scope }
}

function dnsLines(dns: Dns): string[] {
  const rows = [
    { dns: 'servers', is: dns.nameservers?.join(', ') },
    { dns: 'domain', is: dns.domain },
    { dns: 'search', is: dns.search?.join(', ') },
    { dns: 'options', is: dns.options?.join(', ') },
  ]
  return rows.filter(({ is }) => is !== undefined && is !== '').map(({ dns: what, is }) => `dns ${what}: ${is}`)
}
