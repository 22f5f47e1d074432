/** Connections that outlive a change of what is published, and chains of others that drop what is forwarded. */

import t from 'tap'
import { droppingChains } from '../../lib/firewall/nftables/dropping-chains.ts'
import { hostTable } from '../../lib/overlay/mesh/host-table.ts'
import { ingressTable } from '../../lib/overlay/mesh/ingress-table.ts'
import { publishedPorts } from '../../lib/overlay/mesh/published-port.ts'
import {
  forgetReplicas,
  forgetUnanswered,
  replicasGone,
  replicasMissed,
  udpPortsAdded,
} from '../../lib/overlay/mesh/stale-connections.ts'
import { type Child, outsideAddresses, withHost } from '../harness/index.ts'
import { withNetfilter } from './firewall-fixture.ts'
import {
  balancer,
  buildMesh,
  ingressAddresses,
  keep,
  type Mesh,
  type MeshReplica,
  pair,
  peer,
  publish,
  service,
} from './mesh-fixture.ts'

const { host: own } = outsideAddresses

/** A client that goes on with one socket; gives the answer to its next request. */
function talker(mesh: Mesh, transport: 'tcp' | 'udp'): { child: Child; next(): Promise<string> } {
  const child = mesh.host.start(peer('talk', transport, own.ipv4, 8080), { inside: mesh.outside })
  let asked = 0
  return {
    child,
    async next() {
      if (++asked > 1) child.signal('SIGUSR1')
      await child.says(new RegExp(`^${asked} .*\\n`, 'm'))
      return new RegExp(`^${asked} (.*)$`, 'm').exec(child.said)?.[1] ?? ''
    },
  }
}

const ingressFor = (replicas: readonly MeshReplica[]) =>
  ingressTable({
    ...balancer,
    ports: publishedPorts(replicas.map(replica => ({ ...replica, services: [service()] }))).ports,
  })

t.test('a UDP client that never pauses goes to another replica when its own is gone, a TCP client keeps its own', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    const [udp, tcp] = [talker(mesh, 'udp'), talker(mesh, 'tcp')]
    const [before, tcpBefore] = [await udp.next(), await tcp.next()]
    const stays = pair(mesh).find(({ name }) => !before.startsWith(name))
    const leaves = pair(mesh).find(({ name }) => before.startsWith(name))
    if (stays === undefined || leaves === undefined) throw new Error(`nobody answered: ${before}`)
    const change = keep(mesh.ingress, ingressFor([stays]))
    t.equal(await udp.next(), before, 'as long as its connection is tracked it stays')
    withNetfilter(mesh.ingress, socket => {
      const kept = [...stays.addresses]
      t.same(replicasGone(change, [...kept, ...leaves.addresses]), [], 'one that drains is not gone')
      const gone = replicasGone(change, kept)
      t.same(gone.map(String).sort(), leaves.addresses.map(String).sort())
      t.equal(forgetReplicas(socket, gone), 1)
    })
    t.match(await udp.next(), new RegExp(`^${stays.name}`))
    t.equal(await tcp.next(), tcpBefore)
  }),
)

t.test('what was missed while the agent was away is found in the connections themselves', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    const udp = talker(mesh, 'udp')
    const before = await udp.next()
    const stays = pair(mesh).find(({ name }) => !before.startsWith(name))
    if (stays === undefined) throw new Error(`nobody answered: ${before}`)
    keep(mesh.ingress, ingressFor([stays]))
    withNetfilter(mesh.ingress, socket => {
      t.same(
        replicasMissed(socket, [...stays.addresses], () => false),
        [],
        'of other ports nothing is known',
      )
      forgetReplicas(
        socket,
        replicasMissed(socket, [...stays.addresses], port => port === 8080),
      )
    })
    t.match(await udp.next(), new RegExp(`^${stays.name}`))
  }),
)

t.test('a UDP client that asked before the port was published is answered afterwards', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    keep(mesh.ingress, ingressFor(mesh.replicas))
    const udp = talker(mesh, 'udp')
    t.equal(await udp.next(), 'refused')
    const { ports } = publishedPorts(mesh.replicas.map(replica => ({ ...replica, services: [service()] })))
    const change = keep(host, hostTable({ gateway: 'docker_gwbridge', ingress: ingressAddresses, ports }))
    t.equal(await udp.next(), 'refused', 'its connection is tracked as it began')
    t.same(udpPortsAdded(change, 'published'), [8080])
    withNetfilter(host, socket => t.equal(forgetUnanswered(socket, [8080]), 1))
    t.match(await udp.next(), /^replica/)
    withNetfilter(host, socket => t.equal(forgetUnanswered(socket, [8080]), 0, 'one that leads to a replica stays'))
  }),
)

t.test('chains of others that drop what is forwarded are named', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    withNetfilter(host, socket => t.same(droppingChains(socket, 'forward'), []))
    withNetfilter(mesh.ingress, socket =>
      t.same(droppingChains(socket, 'forward'), [], "the load balancer's own is not foreign"),
    )
    host.output(['iptables-nft', '-P', 'FORWARD', 'DROP'])
    const input = `table inet firewalld {
  chain filter_FORWARD { type filter hook forward priority 10; policy drop; }
  chain filter_INPUT { type filter hook input priority 10; policy drop; }
}
`
    host.output(['nft', '-f', '-'], { input })
    withNetfilter(host, socket =>
      t.same(droppingChains(socket, 'forward'), ['inet firewalld filter_FORWARD', 'ip filter FORWARD']),
    )
  }),
)
