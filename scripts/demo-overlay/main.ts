/**
 * Shows on this machine what cnikit does with many hosts: three of them, etcd, an agent on each, two overlay networks, and
 * a service that every host answers for. The hosts are network and mount namespaces on a bridge; the machine's own network
 * is not touched, and all of it is removed. Exit status 0 when everything held.
 *
 * Usage: npm run demo:overlay
 */

import { setTimeout as pause } from 'node:timers/promises'
import {
  Cluster,
  type ClusterHost,
  Etcd,
  type Host,
  OverlayAgent,
  pluginDirectory,
  until,
} from '../../test/harness/index.ts'
import type { Family } from '../demo/address.ts'
import { conclude, heading, show } from '../demo/report.ts'
import { onHost } from '../demo/stage.ts'
import { addressOf, attach, type Container, cnictl, configure, detach, serve, whoAnswers } from './containers.ts'
import { drawHost } from './picture.ts'
import { verifiedTable, verify, verifyAll } from './verified.ts'

const families: readonly Family[] = ['ipv4', 'ipv6']
const SERVICE_PORT = 8080
/** Enough for both replicas to be picked: that one is not, of 16, happens once in 30,000 times. */
const REQUESTS = 16

const network = (name: string, ranges: readonly string[], more: object = {}) => ({
  cniVersion: '1.1.0',
  name,
  type: 'overlay',
  controlPlane: { type: 'etcd' },
  ipam: { type: 'cluster', ranges: ranges.map(subnet => [{ subnet }]) },
  ...more,
})

const networks = [
  network('shop', ['10.20.0.0/16', 'fd00:20::/64']),
  network('ingress', ['10.255.0.0/16', 'fd63:6e69:6b69:ff::/64']),
]

function traffic(from: Container, to: Container, outside: string): void {
  // The network's largest size.
  const wrong = families.filter(family => !from.namespace.pingsUnfragmented(addressOf(to, family), 1450))
  verifyAll(`${from.name} pings ${to.name} on another host: 1450 bytes, IPv4 and IPv6`, 2, wrong)
  verify(`${from.name} pings the outside, by the way out of its host`, from.namespace.pings(outside))
}

/** Every host, in both families, asked from outside. */
function requests(cluster: Cluster, hosts: readonly ClusterHost[], wanted: readonly string[]): string[] {
  return hosts.flatMap(host =>
    families.flatMap(family => {
      const address = host.underlay[family]
      const names = whoAnswers(cluster.outside, address, SERVICE_PORT, REQUESTS)
      return names.join() === wanted.join() ? [] : [`${address} was answered by ${names.join(', ') || 'nobody'}`]
    }),
  )
}

async function service(cluster: Cluster, containers: Container[]): Promise<void> {
  const [one, two, three] = [cluster.host(1), cluster.host(2), cluster.host(3)]
  const replicas = [one, two].map(host => {
    const name = `api-${host.number}`
    return attach(host, 'ingress', name, `SERVICE=api;PUBLISH=${SERVICE_PORT}:80`)
  })
  containers.push(...replicas)
  for (const replica of replicas) await serve(replica, 80, 81)
  const names = replicas.map(({ name }) => name)
  for (const host of cluster.hosts)
    await until(`host ${host.number} has both replicas`, () => cnictl(host, ['overlay', 'services']).status === 0)

  heading('4. What is on the hosts now, from what their kernels say')
  for (const host of cluster.hosts) {
    show(drawHost(host, containers))
    console.log()
  }

  heading('5. Requests from outside')
  cnictl(three, ['overlay', 'services'], 'overlay services')
  console.log()
  verifyAll('host3, which has no replica, is answered by both', REQUESTS * 2, requests(cluster, [three], names))
  verifyAll('so are host1 and host2', REQUESTS * 4, requests(cluster, [one, two], names))
  verify(
    'what a replica has not published is refused',
    whoAnswers(cluster.outside, three.underlay.ipv4, 81).join() === '',
  )
}

/** Who must not get where. */
function isolation(cluster: Cluster, blue: Container, replica: Container): void {
  verify(
    `${blue.name} cannot reach ${replica.name} at its address: networks are apart`,
    whoAnswers(blue.namespace, addressOf(replica, 'ipv4'), 80).join() === '',
  )
  const spy = attach(cluster.host(3), 'ingress', 'spy')
  console.log()
  const reached = [80, 81].filter(port => whoAnswers(spy.namespace, addressOf(replica, 'ipv4'), port).join() !== '')
  verifyAll(`${spy.name}, in the same network as ${replica.name}, reaches it on no port`, 2, reached.map(String))
  detach(spy)
  console.log()
  const { outside } = cluster
  outside.ip(`
link add forged type vxlan id ${vniOf(cluster.host(1), blue.network)} remote ${cluster.host(1).underlay.ipv4} dstport 4789
addr add 10.20.255.254/16 dev forged
link set forged up`)
  const got = outside.pings(addressOf(blue, 'ipv4'), 1)
  outside.ip('link del forged')
  const { stdout } = cnictl(cluster.host(1), ['overlay', 'check', '--without-probe'])
  const dropped = /(\d+) packets were dropped since they came from hosts that are no peers/.exec(stdout)?.[1]
  verify(
    "packets of the outside with the network's VNI are dropped, and counted",
    !got && dropped !== undefined,
    stdout,
  )
}

function vniOf(host: ClusterHost, name: string): number | undefined {
  const { networks: found } = JSON.parse(cnictl(host, ['overlay', 'networks', '--json']).stdout) as {
    networks: { network: string; vni: number }[]
  }
  return found.find(({ network: one }) => one === name)?.vni
}

async function agentRestart(cluster: Cluster, agent: OverlayAgent, from: Container, to: Container): Promise<void> {
  const ping = ['ping', '-n', '-q', '-i', '0.02', addressOf(to, 'ipv4')]
  const child = cluster.underlay.start(ping, { inside: from.namespace })
  await pause(500)
  await agent.stop('SIGKILL')
  await pause(500)
  await agent.start()
  await pause(500)
  const { stdout } = await child.stop('SIGINT')
  const [, sent = '0', received = '0'] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? []
  // The last may be on its way when ping is ended.
  const lost = Math.max(0, Number(sent) - Number(received) - 1)
  verify(
    `an agent killed and started again: no ping lost`,
    Number(sent) > 10 && lost === 0,
    `${lost} of ${sent} lost`,
    Number(sent),
  )
}

function examine(cluster: Cluster): void {
  const wrong = cluster.hosts.flatMap(host => {
    const { status, stdout, stderr } = cnictl(host, ['overlay', 'check'])
    return status === 0 ? [] : [`host${host.number}: ${stdout}${stderr}`]
  })
  cnictl(cluster.host(3), ['overlay', 'check'], 'overlay check')
  console.log()
  verifyAll('"cnictl overlay check" finds no error: tables as wanted, every tunnel carries 1500 bytes', 3, wrong)
}

async function demonstrate(underlay: Host): Promise<void> {
  heading('1. Three hosts and an outside on one network, etcd, an agent on each host')
  const cluster = await Cluster.start(underlay, { hosts: 3 })
  const etcd = await Etcd.start(cluster)
  const agents = cluster.hosts.map(host => new OverlayAgent(host, etcd, { mesh: { pluginDirectory, idleSeconds: 1 } }))
  await Promise.all(agents.map(agent => agent.start()))
  for (const host of cluster.hosts) configure(host, networks)
  show(`host1 192.0.2.1 ─┐
host2 192.0.2.2 ─┼─ underlay ─┬─ etcd ${etcd.endpoints.join(' ')}
host3 192.0.2.3 ─┘            └─ outside ${cluster.outside.underlay.ipv4}`)
  const before = cluster.hosts.map(host => host.output(['nft', 'list', 'tables']))

  heading('2. Network "shop": a container on each of two hosts')
  const blue = attach(cluster.host(1), 'shop', 'blue')
  const green = attach(cluster.host(2), 'shop', 'green')
  const containers = [blue, green]
  console.log()
  traffic(blue, green, cluster.outside.underlay.ipv4)

  heading(`3. Network "ingress": the service "api" with two replicas, published on port ${SERVICE_PORT}`)
  await service(cluster, containers)
  const [, , first, second] = containers
  if (first === undefined || second === undefined) throw new Error('there are four containers')
  isolation(cluster, blue, first)

  heading('6. Agents come and go, and so do replicas')
  const [agent] = agents
  if (agent !== undefined) await agentRestart(cluster, agent, blue, green)
  detach(second)
  console.log()
  const three = cluster.host(3)
  await until('the other host knows', () => !cnictl(three, ['overlay', 'services']).stdout.includes(second.name))
  verifyAll(
    `after ${second.name} has gone, ${first.name} alone answers`,
    REQUESTS * 6,
    requests(cluster, cluster.hosts, [first.name]),
  )

  heading('7. What cnictl says of it')
  cnictl(three, ['overlay', 'networks'], 'overlay networks')
  cnictl(cluster.host(1), ['overlay', 'peers', 'shop'], 'overlay peers shop')
  examine(cluster)

  heading('8. Everybody is detached')
  for (const container of [blue, green, first]) detach(container)
  console.log()
  await until('the load balancers go', () => cluster.hosts.every(host => host.namedNamespaces().length === 0))
  const left = cluster.hosts.filter((host, index) => {
    const links = host.links().filter(name => name !== 'docker_gwbridge')
    return links.join() !== 'lo,uplink' || tablesOf(host) !== before[index]
  })
  verifyAll(
    'no link, namespace or table of a network is left on the hosts',
    3,
    left.map(host => `host${host.number}`),
  )
  const keys = ['endpoints/', 'members/', 'networks/', 'services/'].flatMap(prefix => etcd.keys(prefix))
  verifyAll('no network, endpoint or service is left in etcd', 4, keys)
}

/** The gateway bridge stays, and the tables that are its own, as with every bridge plugin. */
function tablesOf(host: ClusterHost): string {
  const tables = host.output(['nft', 'list', 'tables']).split('\n')
  return tables.filter(line => !/ cnikit(-overlay)?$/.test(line)).join('\n')
}

heading('cnikit: overlay networks over three hosts')
const left = await onHost(demonstrate)
heading('9. The hosts are removed')
verifyAll('no namespace, link, mount, process or file is left on this machine', 1, left)

heading('What was verified')
show(verifiedTable())
conclude()
