/** Connections from outside through a host to a replica in the ingress network, with few and with many published services. */

import { join } from 'node:path'
import type { DeclaredTable } from '../../lib/firewall/nftables/declared-table.ts'
import { hostTable } from '../../lib/overlay/mesh/host-table.ts'
import { ingressTable } from '../../lib/overlay/mesh/ingress-table.ts'
import { publishedPorts } from '../../lib/overlay/mesh/published-port.ts'
import { createHost, outsideAddresses, repositoryRoot } from '../../test/harness/index.ts'
import { balancer, buildMesh, ingressAddresses, keep, type Mesh, service } from '../../test/netns/mesh-fixture.ts'
import type { Case } from '../case.ts'

const CONNECTIONS = 2_000
const counts = [1, 1_000] as const

/** The tables of a host and its load balancer with so many services; the one that is measured is among them. */
function tablesFor(mesh: Mesh, count: number): { host: DeclaredTable; ingress: DeclaredTable } {
  const services = Array.from({ length: count }, (_, index) =>
    service({
      name: `service${index}`,
      ports: [{ published: 8080 + index, target: 80, protocol: 'tcp', mode: 'mesh' }],
    }),
  )
  const { ports } = publishedPorts(mesh.replicas.map(replica => ({ ...replica, services })))
  return {
    host: hostTable({ gateway: 'docker_gwbridge', ingress: ingressAddresses, ports }),
    ingress: ingressTable({ ...balancer, ports }),
  }
}

export const mesh: Case = {
  name: 'mesh',
  async run(_, runs) {
    const host = createHost()
    try {
      const built = await buildMesh(host)
      const tables = counts.map(count => tablesFor(built, count))
      const program = join(repositoryRoot, 'dist/node/bench/mesh-connections.js')
      const argv = [process.execPath, program, outsideAddresses.host.ipv4, '8080', String(CONNECTIONS)]
      const rates: number[][] = counts.map(() => [])
      for (let round = 0; round < Math.max(5, Math.ceil(runs / 3)); round++) {
        for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
          const table = tables[index]
          if (table === undefined) continue
          keep(host, table.host)
          keep(built.ingress, table.ingress)
          rates[index]?.push(Number(built.outside.output(argv, { timeoutMs: 120_000 })))
        }
      }
      const [few = [], many = []] = rates
      return [
        {
          what: 'connections through the mesh, 1,000 published services',
          unit: 'per s',
          go: [],
          ours: many,
          base: { name: 'the same with 1 service', samples: few },
          target: 'flat',
        },
      ]
    } finally {
      await host.stopChildren()
      host.remove()
    }
  },
}
