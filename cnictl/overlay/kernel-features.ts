/** Whether this kernel has what overlay networks need: tried out, in a network namespace made for it. */

import { type IpAddress, parseAddress } from '../../lib/address/address.ts'
import { parsePrefix } from '../../lib/address/prefix.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { addMasquerade } from '../../lib/firewall/masquerade.ts'
import { keepTable } from '../../lib/firewall/nftables/declared-table.ts'
import { requireNftables } from '../../lib/firewall/nftables/socket.ts'
import { addLink, getLink, setLink } from '../../lib/netlink/route/link/index.ts'
import { createNamespace, deleteNamespace, openNamespace } from '../../lib/netns/index.ts'
import { hostTable } from '../../lib/overlay/mesh/host-table.ts'
import { ingressTable } from '../../lib/overlay/mesh/ingress-table.ts'
import { IpProtocol } from '../../lib/overlay/mesh/ports.ts'
import type { PublishedPort } from '../../lib/overlay/mesh/published-port.ts'
import { setPeers } from '../../lib/overlay/peers.ts'
import type { Finding } from './finding.ts'

interface Trial {
  readonly what: string
  /** What it needs, by name of module. */
  readonly modules: string
  /** What does without it. */
  readonly gravity: Finding['gravity']
  readonly run: () => void
}

/** Addresses for documentation, RFC 5737. */
const mustParse = (text: string): IpAddress => {
  const address = parseAddress(text)
  if (address === undefined) throw new RangeError(`${text} is no address`)
  return address
}
const [one, other] = [mustParse('192.0.2.1'), mustParse('192.0.2.2')]

const trials: readonly Trial[] = [
  {
    what: 'bridges',
    modules: 'bridge',
    gravity: 'error',
    run: () => withHostSocket(host => addLink(host, { name: 'br0', kind: 'bridge' })),
  },
  {
    what: 'VXLAN devices with a fixed local address and without learning',
    modules: 'vxlan',
    gravity: 'error',
    run: () =>
      withHostSocket(host => {
        const vxlan = { id: 1, port: 4789, local: one, learning: false }
        addLink(host, { name: 'vxlan0', kind: 'vxlan', vxlan })
      }),
  },
  {
    what: 'links between namespaces',
    modules: 'veth',
    gravity: 'error',
    run: () => withHostSocket(host => addLink(host, { name: 'trial0', kind: 'veth' })),
  },
  {
    what: 'answering ARP for known containers, and isolated ports of a bridge (Linux 4.18)',
    modules: 'bridge',
    gravity: 'error',
    run: () =>
      withHostSocket(host => {
        addLink(host, { name: 'br1', kind: 'bridge' })
        addLink(host, { name: 'vxlan1', kind: 'vxlan', vxlan: { id: 2, port: 4789, learning: false } })
        setLink(host, { name: 'vxlan1', master: getLink(host, { name: 'br1' })?.index ?? 0 })
        const index = getLink(host, { name: 'vxlan1' })?.index ?? 0
        setLink(host, { index, bridgePort: { learning: false, neighSuppress: true, isolated: true } })
      }),
  },
  {
    what: 'the peer filter',
    modules: 'nf_tables, nft_ct',
    gravity: 'error',
    run: () => setPeers({ network: 'trial', port: 4789, vni: 1, peers: [other] }),
  },
  {
    what: 'masquerade of the way out',
    modules: 'nf_tables, nft_masq, nf_nat',
    gravity: 'error',
    run: () => {
      const address = parsePrefix('192.0.2.1/24')
      const attachment = { network: 'trial', containerId: 'trial', ifname: 'eth0' }
      if (address !== undefined) addMasquerade('nftables', attachment, [address])
    },
  },
  {
    what: 'load balancing of services',
    modules: 'nft_numgen, nft_hash, nft_nat, nft_fib_inet',
    gravity: 'warning',
    run: balance,
  },
]

function balance(): void {
  const port: PublishedPort = {
    service: 'trial',
    protocol: IpProtocol.tcp,
    port: 80,
    mode: 'mesh',
    affinity: 'none',
    hostAddresses: [],
    targets: [{ address: one, port: 80 }],
  }
  const socket = requireNftables('services', 'publish no ports')
  try {
    keepTable(socket, hostTable({ gateway: 'br0', ingress: [one], ports: [port] }))
    const addresses = { outerAddresses: [one], gateways: [other], addresses: [other] }
    keepTable(socket, ingressTable({ outer: 'eth1', inner: 'eth0', ...addresses, ports: [port] }))
  } finally {
    socket.close()
  }
}

/** What is missing. @throws SysError when no namespace can be made */
export function missingFeatures(): Finding[] {
  const name = `cnictl-trial-${process.pid}`
  // Of a process of the same number that was killed.
  deleteNamespace(name)
  const namespace = openNamespace(createNamespace(name))
  try {
    return namespace.run(() =>
      trials.flatMap(({ what, modules, gravity, run }) => {
        const reason = failureOf(run)
        if (reason === undefined) return []
        const remedy = `modprobe -a ${modules.replaceAll(',', '')}, or a kernel that has them`
        return [{ gravity, what: `the kernel lacks ${what}: ${reason}`, remedy }]
      }),
    )
  } finally {
    namespace.close()
    deleteNamespace(name)
  }
}

function failureOf(run: () => void): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
