/** Mappings as elements of maps, and the comments that say whose they are. */

import fc from 'fast-check'
import t from 'tap'
import { formatAddress, parseAddress } from '../../../lib/address/address.ts'
import {
  claimElement,
  claimsOf,
  mapOf,
  type PortClaim,
  readElement,
} from '../../../lib/firewall/nftables/port-forwarding-elements.ts'
import { ownerComment, ownerPrefix, readOwner } from '../../../lib/firewall/nftables/port-forwarding-owner.ts'
import type { PortMapping } from '../../../lib/firewall/port-forwarding.ts'

const address = (text: string) => {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new TypeError(text)
  return parsed
}

const hosts = [undefined, ...['0.0.0.0', '::', '192.0.2.1', '192.0.2.2', '2001:db8::1'].map(address)]
const mapping: fc.Arbitrary<PortMapping> = fc.record({
  transport: fc.constantFrom('tcp', 'udp', 'sctp'),
  // Close together, so that there are ranges.
  hostPort: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 65500, max: 65535 })),
  containerPort: fc.constant(0),
  hostAddress: fc.constantFrom(...hosts),
})
/** Most lead to the same port. */
const mappings = fc
  .uniqueArray(fc.tuple(mapping, fc.constantFrom(0, 0, 0, 0, 1)), {
    maxLength: 200,
    selector: ([one]) => `${one.transport} ${one.hostPort} ${one.hostAddress && formatAddress(one.hostAddress)}`,
  })
  .map(list => list.map(([one, offset]) => ({ ...one, containerPort: Math.min(65535, one.hostPort + offset) })))

const families = ['ip', 'ip6'] as const
const containers = { ip: address('10.1.0.5'), ip6: address('fd00::5') }

/** Every single port of the claims: `ip tcp 192.0.2.1 8080 80`. */
const portsOf = (claims: readonly PortClaim[]): string[] =>
  claims
    .flatMap(({ family, transport, hostAddress, first, last, containerPort }) =>
      Array.from({ length: last - first + 1 }, (_, index) =>
        [family, transport, hostAddress && formatAddress(hostAddress), first + index, containerPort + index].join(' '),
      ),
    )
    .sort()

t.test('elements say what the mappings say, ranges or not, and are read as they were written', async t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(mappings, list => {
        const claims = claimsOf(list, families)
        const expected = list.flatMap(({ transport, hostPort, containerPort, hostAddress }) =>
          families
            .filter(family => hostAddress === undefined || (hostAddress.length === 4) === (family === 'ip'))
            .map(family => {
              const all = hostAddress === undefined || hostAddress.every(byte => byte === 0)
              return [family, transport, all ? undefined : formatAddress(hostAddress), hostPort, containerPort].join(
                ' ',
              )
            }),
        )
        t.strictSame(portsOf(claims), expected.sort())
        for (const claim of claims) {
          const container = containers[claim.family]
          const read = readElement(mapOf(claim), claimElement(claim, container, 'comment'))
          t.strictSame(read, { ...claim, container })
        }
      }),
      { numRuns: 100 },
    ),
  )
})

t.test('neighbouring ports that lead to the same ports are one element from eight on', async t => {
  const run = (count: number, offset = 0): PortMapping[] =>
    Array.from({ length: count }, (_, index) => ({
      transport: 'tcp',
      hostPort: 100 + index,
      containerPort: 100 + index + offset,
      hostAddress: undefined,
    }))
  t.equal(claimsOf(run(7), ['ip']).length, 7)
  t.match(claimsOf(run(8), ['ip']), [{ first: 100, last: 107, containerPort: 100 }])
  t.equal(claimsOf(run(8), families).length, 2)
  t.equal(claimsOf(run(8, 1), ['ip']).length, 8)
  t.equal(claimsOf(run(100).reverse(), ['ip']).length, 1, 'in any order')
})

t.test('a comment names its attachment and the namespace; anything else is nobody’s', async t => {
  const attachment = { network: 'podnet', containerId: 'c'.repeat(64), ifname: 'eth0' }
  const comment = ownerComment(attachment, 4026532291n)
  t.ok(comment.startsWith(ownerPrefix(attachment)))
  t.strictSame(readOwner(comment), { ...attachment, namespace: 4026532291n })
  for (const other of [undefined, '', 'podnet', 'a b c', 'a b c d', 'a b c 1 2', 'a b c -1', ' b c 1x'])
    t.equal(readOwner(other), undefined, other ?? 'no comment')
})
