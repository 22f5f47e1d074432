/**
 * All that a plugin could have changed on a host, as text that can be compared: links, addresses, routes, rules, both
 * firewalls, sysctls, state files. What the kernel changes by itself and later (carrier, the link-local addresses that
 * follow it, counters, timers) is left out.
 */

import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Test } from 'tap'
import type { Host } from './host.ts'
import type { NetworkNamespace } from './namespace.ts'

const kinds = ['links', 'addresses', 'routes', 'rules', 'nftables', 'iptables', 'sysctls', 'files'] as const
export type SnapshotKind = (typeof kinds)[number]
/** Sorted lines for each kind. */
export type Snapshot = Readonly<Record<SnapshotKind, readonly string[]>>

const sections = {
  links: 'ip -j -d link',
  addresses: 'ip -j addr',
  routes: 'ip -j route show table all',
  rules: 'ip -j rule',
  rules6: 'ip -j -6 rule',
  nftables: 'nft -j list ruleset',
  iptables: 'iptables-save',
  ip6tables: 'ip6tables-save',
  sysctls: `grep -s '' /proc/sys/net/ipv4/ip_forward \\
    /proc/sys/net/ipv4/conf/*/{forwarding,route_localnet,arp_notify,rp_filter,proxy_arp} \\
    /proc/sys/net/ipv6/conf/*/{forwarding,accept_ra,accept_dad,enhanced_dad,disable_ipv6,keep_addr_on_down,ndisc_notify}`,
} as const
type Section = keyof typeof sections

const separator = '\u001e'
const script = Object.entries(sections)
  .map(([name, command]) => `printf '${separator}${name}\\n'; ${command}`)
  .join('\n')

/** Keys of ip(8) and nft(8) whose values change without anybody's doing. */
const restless =
  /^(operstate|.*_timer|topology_change.*|valid_life_time|preferred_life_time|tentative|expires|age|used|handle|packets|bytes|metainfo)$/
const restlessFlags = new Set(['LOWER_UP', 'NO-CARRIER', 'linkdown', 'M-DOWN', 'dead'])

function steady(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter(item => !restlessFlags.has(item as string)).map(steady)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([key]) => !restless.test(key))
  return Object.fromEntries(kept.map(([key, item]) => [key, steady(item)]))
}

const objects = (json: string): Record<string, unknown>[] => (json.trim() === '' ? [] : JSON.parse(json))
const lines = (json: string): string[] => objects(json).map(object => JSON.stringify(steady(object)))

/** Added by the kernel when a link gets a carrier, at a moment of its own. */
const linkLocal = /^(fe80:|ff00::\/8|multicast)/

/** The local table follows the addresses, for IPv6 when the link gets its carrier. */
const routeLines = (json: string): string[] =>
  objects(json)
    .filter(route => !linkLocal.test(String(route.dst)) && route.type !== 'multicast' && route.table !== 'local')
    .map(route => JSON.stringify(steady(route)))

const addressLines = (json: string): string[] =>
  objects(json).flatMap(({ ifname, addr_info }) =>
    (addr_info as Record<string, unknown>[])
      .filter(address => !linkLocal.test(String(address.local)))
      .map(address => `${ifname} ${JSON.stringify(steady(address))}`),
  )

const nftablesLines = (json: string): string[] =>
  ((JSON.parse(json.trim() === '' ? '{}' : json) as { nftables?: object[] }).nftables ?? [])
    .filter(object => !('metainfo' in object))
    .map(object => JSON.stringify(steady(object)))

/** Comments carry the time, chains carry counters. */
const iptablesLines = (text: string): string[] =>
  text
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => line.replace(/ ?\[\d+:\d+\]/, ''))

/** host-local's own bookkeeping outlives the addresses by design; so do the directories. */
const bookkeeping = /^(lock|\.index.*|last_reserved_ip\.\d+)$/

function fileLines(root: string, directory = root): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap(entry => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return fileLines(root, path)
    if (bookkeeping.test(entry.name)) return []
    const content = entry.isSymbolicLink()
      ? `-> ${readlinkSync(path)}`
      : entry.isFile()
        ? readFileSync(path, 'utf8')
        : ''
    const mode = (lstatSync(path).mode & 0o7777).toString(8)
    return [`${relative(root, path)} ${mode} ${JSON.stringify(content)}`]
  })
}

/** The state of a namespace, and of a host's state directory with it. */
export function snapshot(namespace: Host | NetworkNamespace): Snapshot {
  const said = new Map<string, string>()
  for (const part of namespace.output(['bash', '-c', `${script}; exit 0`]).split(separator)) {
    const end = part.indexOf('\n')
    said.set(part.slice(0, end), part.slice(end + 1))
  }
  const of = (section: Section): string => said.get(section) ?? ''
  // The order of rules in a chain means something; that of everything else does not.
  return {
    links: lines(of('links')).toSorted(),
    addresses: addressLines(of('addresses')).toSorted(),
    routes: routeLines(of('routes')).toSorted(),
    rules: [...lines(of('rules')), ...lines(of('rules6'))].toSorted(),
    nftables: nftablesLines(of('nftables')),
    iptables: [...iptablesLines(of('iptables')), ...iptablesLines(of('ip6tables')).map(line => `ip6 ${line}`)],
    sysctls: of('sysctls').split('\n').filter(Boolean).toSorted(),
    files: 'directory' in namespace ? fileLines(namespace.directory).toSorted() : [],
  }
}

/** Lines that only one of two snapshots has, each with "-" (gone) or "+" (new) and its kind in front. */
export function differences(before: Snapshot, after: Snapshot, except: readonly SnapshotKind[] = []): string[] {
  return kinds
    .filter(kind => !except.includes(kind))
    .flatMap(kind => {
      const was = new Set(before[kind])
      const is = new Set(after[kind])
      const gone = before[kind].filter(line => !is.has(line)).map(line => `- ${kind} ${line}`)
      const come = after[kind].filter(line => !was.has(line)).map(line => `+ ${kind} ${line}`)
      const swapped = gone.length + come.length === 0 && before[kind].join('\n') !== after[kind].join('\n')
      return swapped ? [`~ ${kind} in another order or number`] : [...gone, ...come]
    })
}

/** Fails with the differing lines unless both snapshots are the same. */
export function assertSameSnapshot(
  t: Test,
  before: Snapshot,
  after: Snapshot,
  claim: string,
  except: readonly SnapshotKind[] = [],
): void {
  t.same(differences(before, after, except), [], claim)
}
