/** A port that a container publishes, asked from everywhere. */

import type { Test } from 'tap'
import { ask, type Host, type NetworkNamespace, outsideAddresses, type Place, until } from '../harness/index.ts'

/** What the server listens on, TCP and UDP alike, and what the host answers on for it. */
export const ports = { container: 9000, host: 8080 } as const

const transports = ['tcp', 'udp'] as const
const families = ['ipv4', 'ipv6'] as const

/** From where a published port is asked, and under which of the host's addresses. */
function askers(
  host: Host,
  outside: NetworkNamespace,
  containers: { readonly own: Place; readonly neighbour: Place },
): readonly (readonly [who: string, from: Place, address: (family: 'ipv4' | 'ipv6') => string | undefined])[] {
  const ofHost = (family: 'ipv4' | 'ipv6') => outsideAddresses.host[family]
  return [
    ['from outside', outside, ofHost],
    ['from the host', host, ofHost],
    // The kernel does not let ::1 leave the host, whoever forwards.
    ['from localhost', host, family => (family === 'ipv4' ? '127.0.0.1' : undefined)],
    ['from the container itself', containers.own, ofHost],
    ['from another container', containers.neighbour, ofHost],
  ]
}

export function assertPublished(
  t: Test,
  host: Host,
  outside: NetworkNamespace,
  containers: { readonly own: Place; readonly neighbour: Place },
  versions: readonly ('ipv4' | 'ipv6')[] = families,
): void {
  for (const [who, from, addressOf] of askers(host, outside, containers))
    for (const family of versions) {
      const address = addressOf(family)
      if (address === undefined) continue
      for (const transport of transports)
        t.match(ask(from, transport, address, ports.host), / hello$/, `${transport} over ${family} ${who}`)
    }
}

/** Nobody answers any more. */
export async function assertWithdrawn(t: Test, host: Host, outside: NetworkNamespace): Promise<void> {
  await until('the port is closed', () => ask(outside, 'tcp', outsideAddresses.host.ipv4, ports.host) === undefined)
  for (const family of families)
    for (const transport of transports) {
      t.equal(ask(outside, transport, outsideAddresses.host[family], ports.host), undefined, `${transport}, ${family}`)
    }
  t.equal(ask(host, 'tcp', '127.0.0.1', ports.host), undefined)
}
