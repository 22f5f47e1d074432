/** What both runtimes' tests share: the network, and what is left of it afterwards. */

import type { Test } from 'tap'
import { differences, fetchPage, type Host, outsideAddresses, type Snapshot, snapshot } from '../harness/index.ts'
import type { Machine } from '../harness/machine.ts'

export const dualStack = { ipv4: '10.70.0.0/24', ipv6: 'fd00:70::/64' } as const

export interface Container {
  readonly name: string
  /** Runs a program inside, by the runtime's own means. */
  output(argv: readonly string[]): string
}

/** Global addresses of eth0 as the container itself sees them. */
export function addressesOf(container: Container): { ipv4: string; ipv6: string } {
  const text = container.output(['/bin/ip', 'addr', 'show', 'dev', 'eth0'])
  const [, ipv4] = /inet (\d+\.[\d.]+)\//.exec(text) ?? []
  const [, ipv6] = /inet6 (fd[\da-f:]+)\//.exec(text) ?? []
  if (ipv4 === undefined || ipv6 === undefined) throw new Error(`no addresses of both families on eth0: ${text}`)
  return { ipv4, ipv6 }
}

/** Both families: neighbour, host and the masqueraded outside. The containers serve "hello from <name>" on port 80. */
export function assertConnected(t: Test, host: Host, one: Container, two: Container): void {
  const ours = addressesOf(one)
  const theirs = addressesOf(two)
  for (const family of ['ipv4', 'ipv6'] as const) {
    // Not with -T, which crashes Debian's static busybox; output() ends what takes too long.
    const get = (address: string, port: number): string => {
      const at = family === 'ipv6' ? `[${address}]` : address
      return one.output(['/bin/wget', '-q', '-O', '-', `http://${at}:${port}/`]).trim()
    }
    t.not(ours[family], theirs[family], `${family}: every container has its own address`)
    t.match(
      one.output(['/bin/ping', '-c', '1', '-W', '5', theirs[family]]),
      /1 packets received/,
      `${family}: ping to the neighbour`,
    )
    t.equal(get(theirs[family], 80), 'hello', `${family}: HTTP to the neighbour`)
    for (const { [family]: address } of [ours, theirs]) {
      t.ok(host.pings(address), `${family}: ping from the host`)
      t.equal(fetchPage(host, address, 80), 'hello', `${family}: HTTP from the host`)
    }
    const outside = outsideAddresses.outside[family]
    t.equal(get(outside, 8081), `${outsideAddresses.host[family]} GET /`, `${family}: masqueraded to the outside`)
  }
}

/** All that a network leaves on a host: its links, routes and firewall, and the plugins' files. */
export interface Remains {
  readonly network: Snapshot
  readonly files: readonly string[]
}

const bookkeeping = /\/(lock|\.index.*|last_reserved_ip\.\d+)$/

export const remains = (machine: Machine): Remains => ({
  network: snapshot(machine.host),
  files: machine.files('/var/lib/cni').filter(path => !bookkeeping.test(path)),
})

/**
 * The first container also makes what is the network's and stays: the bridge with its addresses, empty tables. So
 * a later round must leave what the first has left, and the first nothing that is a container's.
 */
export function assertNothingLeft(
  t: Test,
  fresh: Remains,
  first: Remains,
  last: Remains,
  ids: readonly string[],
): void {
  const own = new RegExp(`veth|${ids.join('|')}|"(10\\.70\\.0|fd00:70:):?\\.?([2-9]|1\\d|[a-f])\\b`)
  const stayed = differences(fresh.network, first.network).filter(line => line.startsWith('+'))
  t.same(
    stayed.filter(line => own.test(line)),
    [],
    'the first container leaves nothing of its own',
  )
  t.same(first.files, [], 'nor a file')
  t.same(differences(first.network, last.network), [], 'the others leave nothing at all')
  t.same(last.files, [], 'nor a file')
}
