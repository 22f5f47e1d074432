/**
 * Shows on this machine what cnikit does: two containers on a bridge, masqueraded to a network behind the host. All of it
 * happens in network namespaces made for it; the host's own network is not touched. Exit status 0 when everything held.
 *
 * Usage: npm run demo
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  ask,
  createOutside,
  differences,
  fetchPage,
  type Host,
  type NetworkNamespace,
  outsideAddresses,
  pluginDirectory,
  snapshot,
  startPeer,
} from '../../test/harness/index.ts'
import { addressIn } from './address.ts'
import { drawHost } from './picture.ts'
import { claim, conclude, heading, show, showCommand } from './report.ts'
import { onHost } from './stage.ts'

const conflist = (host: Host): object => ({
  cniVersion: '1.1.0',
  name: 'demo',
  plugins: [
    {
      type: 'bridge',
      bridge: 'br0',
      isDefaultGateway: true,
      ipMasq: true,
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: '10.88.0.0/24' }], [{ subnet: 'fd00:88::/64' }]],
        dataDir: host.dataDirectory,
      },
    },
  ],
})

/** Runs cnictl as on the host itself, and shows it. */
function cnictl(host: Host, verb: string, label: string, container: NetworkNamespace): void {
  const directories = ['--config-dir', join(host.directory, 'net.d'), '--cache-dir', join(host.directory, 'cache')]
  const options = [...directories, '--plugin-dir', pluginDirectory]
  const { status, stdout, stderr } = host.execute([
    join(pluginDirectory, 'cnictl'),
    verb,
    'demo',
    container.path,
    ...options,
  ])
  showCommand(`cnictl ${verb} demo ${label}`, stdout + stderr)
  if (status !== 0) throw new Error(`cnictl ${verb} demo ${label} failed`)
}

function traffic(host: Host, blue: NetworkNamespace, green: NetworkNamespace): void {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const [from, to] = [addressIn(blue, family), addressIn(green, family)]
    const world = outsideAddresses.outside[family]
    const masqueraded = outsideAddresses.host[family]
    claim(blue.pings(to), `blue pings green at ${to}`)
    claim(host.pings(to), `the host pings green at ${to}`)
    claim(blue.pings(world), `blue pings the outside at ${world}`)
    const expect = (answer: string | undefined, wanted: string, text: string): void =>
      claim(answer === wanted, text, `the answer was "${answer ?? 'none'}"`)
    expect(fetchPage(blue, to), `${from} GET /`, `blue fetches http://green/, and green sees ${from}`)
    expect(
      fetchPage(blue, world),
      `${masqueraded} GET /`,
      `blue fetches http://outside/, which sees the host: ${masqueraded}`,
    )
    expect(ask(blue, 'udp', world), `${masqueraded} hello`, `a datagram to the outside and back, from ${masqueraded}`)
  }
}

async function demonstrate(host: Host): Promise<void> {
  heading('1. A host, two containers "blue" and "green", and an outside that knows no route to them')
  const outside = createOutside(host)
  const [blue, green] = [host.createNamespace('blue'), host.createNamespace('green')]
  const everything = [
    { label: 'blue', namespace: blue },
    { label: 'green', namespace: green },
    { label: 'outside', namespace: outside },
  ]
  mkdirSync(join(host.directory, 'net.d'))
  writeFileSync(join(host.directory, 'net.d/10-demo.conflist'), JSON.stringify(conflist(host)))
  show(drawHost(host, everything))
  const before = snapshot(host)

  heading('2. Both containers are attached to the network "demo", as a container runtime does it')
  for (const { label, namespace } of everything.slice(0, 2)) cnictl(host, 'add', label, namespace)

  heading('3. What the plugins have built')
  show(drawHost(host, everything))

  heading('4. Traffic')
  await Promise.all([startPeer(host, green), startPeer(host, outside)])
  traffic(host, blue, green)

  heading('5. Both containers are detached')
  const own = [blue, green].flatMap(container => [addressIn(container, 'ipv4'), addressIn(container, 'ipv6')])
  for (const { label, namespace } of everything.slice(0, 2)) cnictl(host, 'del', label, namespace)
  console.log()
  show(drawHost(host, everything))
  console.log()
  // What is the network's stays, as with every bridge plugin: the bridge with its addresses, sets without elements.
  const containers = new RegExp(`veth|(${own.join('|').replaceAll('.', '\\.')})(?![\\da-f])`)
  const left = differences(before, snapshot(host)).filter(line => line.startsWith('+') && containers.test(line))
  claim(
    left.length === 0,
    'no link, address, route, rule, firewall element or file of a container is left',
    left.join('\n'),
  )
  claim(
    blue.links().join() === 'lo' && green.links().join() === 'lo',
    'blue and green have their loopback and nothing else',
  )
}

heading('cnikit: a network for two containers')
const left = await onHost(demonstrate)
heading('6. The namespaces of the demo are removed')
claim(
  left.length === 0,
  'no namespace, link, mount, process, file or directory is left on this machine',
  left.join('\n'),
)
conclude()
