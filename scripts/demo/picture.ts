/** Draws what is on a host as a tree, from what the kernel says. */

import type { Host, NetworkNamespace } from '../../test/harness/index.ts'

/** A line with those below it. */
export interface Branch {
  readonly text: string
  readonly branches?: readonly Branch[]
}

/** "├──" and "└──" before what hangs below a line. */
export function drawTree({ text, branches = [] }: Branch): string {
  const below = branches.map((branch, index) => {
    const last = index === branches.length - 1
    const [first = '', ...rest] = drawTree(branch).split('\n')
    return [`${last ? '└──' : '├──'} ${first}`, ...rest.map(line => `${last ? '   ' : '│  '} ${line}`)].join('\n')
  })
  return [text, ...below].join('\n')
}

/** As "ip -j addr" shows it. */
export interface Link {
  readonly ifname: string
  readonly ifindex: number
  /** Index of the other end of a veth. */
  readonly link_index?: number
  readonly master?: string
  readonly linkinfo?: { readonly info_kind?: string }
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number; readonly scope: string }[]
}

interface Route {
  readonly dst: string
  readonly gateway?: string
}

/** A namespace and what the picture calls it. */
export interface Named {
  readonly label: string
  readonly namespace: NetworkNamespace
}

/** With their prefix lengths; link-local ones left out. */
export const addresses = (link: Link): string =>
  link.addr_info
    .filter(address => address.scope === 'global')
    .map(address => `${address.local}/${address.prefixlen}`)
    .join(' ')

const gateways = (namespace: NetworkNamespace): string => {
  const routes = [...namespace.show<Route[]>('route'), ...namespace.show<Route[]>('-6', 'route')]
  const found = routes.filter(route => route.dst === 'default').map(route => route.gateway)
  return found.length === 0 ? '' : `  default via ${found.join(' ')}`
}

/** The link, with the one at its other end when it is a veth into one of the namespaces. */
function describe(link: Link, others: readonly Named[]): string {
  const own = [link.ifname, link.linkinfo?.info_kind === 'bridge' ? 'bridge' : '', addresses(link)]
    .filter(Boolean)
    .join('  ')
  for (const { label, namespace } of others)
    for (const peer of namespace.show<Link[]>('addr'))
      if (peer.link_index === link.ifindex && peer.ifindex === link.link_index)
        return `${own} ─── ${peer.ifname} of ${label}  ${addresses(peer)}${gateways(namespace)}`
  return own
}

interface NftObject {
  readonly table?: { readonly family: string; readonly name: string }
  readonly set?: {
    readonly family: string
    readonly table: string
    readonly name: string
    readonly elem?: readonly (string | { readonly elem: { readonly val: string } })[]
  }
}

function firewall(host: Host): Branch[] {
  const { nftables } = JSON.parse(host.output(['nft', '-j', 'list', 'ruleset'])) as { nftables: NftObject[] }
  return nftables.flatMap(({ table }) => {
    if (table === undefined) return []
    const sets = nftables.flatMap(({ set }) => {
      if (set?.table !== table.name || set.family !== table.family) return []
      const elements = (set.elem ?? []).map(element => (typeof element === 'string' ? element : element.elem.val))
      return [{ text: `set ${set.name}: ${elements.join(', ') || 'empty'}` }]
    })
    return [{ text: `nftables table ${table.family} ${table.name}`, branches: sets }]
  })
}

/** The host's links, ports below their bridge, each with the container at its other end; then the firewall. */
export function drawHost(host: Host, others: readonly Named[]): string {
  const links = host.show<Link[]>('addr').filter(link => link.ifname !== 'lo')
  const branch = (link: Link): Branch => ({
    text: describe(link, others),
    branches: links.filter(port => port.master === link.ifname).map(branch),
  })
  const top = links.filter(link => link.master === undefined)
  return drawTree({ text: 'host', branches: [...top.map(branch), ...firewall(host)] })
}
