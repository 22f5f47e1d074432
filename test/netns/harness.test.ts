/** The harness itself, against the Go plugins: what it says about ours must be worth something. */

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  answerOf,
  ask,
  createOutside,
  differences,
  fetchPage,
  goPluginDirectory,
  type Host,
  mustRunPlugin,
  outsideAddresses,
  programPath,
  runPlugin,
  snapshot,
  startPeer,
  startPlugin,
  withHost,
} from '../harness/index.ts'
import { machineState } from '../harness/leaks.ts'

const goBridge = (host: Host) => ({
  cniVersion: '1.0.0',
  name: 'harness',
  type: 'bridge',
  bridge: 'br0',
  isDefaultGateway: true,
  ipMasq: true,
  ipam: { type: 'host-local', subnet: '10.77.0.0/24', dataDir: host.dataDirectory },
})

const attach = (host: Host, containerId: string) => {
  const container = host.createContainer()
  const options = {
    host,
    containerId,
    netns: container,
    config: goBridge(host),
    pluginDir: goPluginDirectory,
    environment: { PATH: programPath },
  }
  return { container, options }
}

t.test('a container made by the Go bridge talks to its neighbour, its host and, masqueraded, to the outside', t =>
  withHost(t, async host => {
    const outside = createOutside(host)
    const before = snapshot(host)
    const one = attach(host, 'one')
    const two = attach(host, 'two')
    const { result } = mustRunPlugin('bridge', { ...one.options, command: 'ADD' })
    t.equal(result?.ips?.[0]?.address, '10.77.0.2/24')
    mustRunPlugin('bridge', { ...two.options, command: 'ADD' })
    t.same(two.container.addresses('eth0'), ['10.77.0.3/24'])
    t.same(two.container.links(), ['lo', 'eth0'])
    await startPeer(host, two.container)
    await startPeer(host, outside)
    t.ok(one.container.pings('10.77.0.3'), 'ping to the neighbour')
    t.ok(host.pings('10.77.0.2'), 'ping from the host')
    t.notOk(one.container.pings('10.77.0.99'), 'no ping from where nobody is')
    t.equal(ask(one.container, 'tcp', '10.77.0.3'), '10.77.0.2 hello', 'the neighbour sees the address itself')
    for (const transport of ['tcp', 'udp'] as const)
      t.equal(
        ask(one.container, transport, outsideAddresses.outside.ipv4),
        '198.51.100.1 hello',
        `${transport}: masqueraded`,
      )
    t.equal(fetchPage(one.container, outsideAddresses.outside.ipv4), '198.51.100.1 GET /')
    t.equal(ask(one.container, 'tcp', '10.77.0.3', 9), undefined, 'no answer where nobody listens')
    const during = differences(before, snapshot(host))
    for (const kind of ['links', 'addresses', 'routes', 'nftables', 'iptables', 'sysctls', 'files'])
      t.ok(
        during.some(line => line.startsWith(`+ ${kind} `)),
        `the snapshot shows changed ${kind}`,
      )
    for (const { options } of [one, two]) mustRunPlugin('bridge', { ...options, command: 'DEL' })
    t.same(
      differences(before, snapshot(host), ['links', 'addresses', 'routes', 'sysctls', 'iptables', 'nftables']),
      [],
      'addresses are released, and bookkeeping of host-local is not counted',
    )
  }),
)

t.test('two snapshots of an unchanged host are the same', t =>
  withHost(t, host => {
    createOutside(host)
    t.same(differences(snapshot(host), snapshot(host)), [])
  }),
)

t.test('the order of rules is part of a snapshot', t =>
  withHost(t, host => {
    const load = (...rules: string[]) => {
      const text = `flush ruleset\ntable ip x {\n chain y {\n${rules.join('\n')}\n }\n}\n`
      host.output(['nft', '-f', '-'], { input: text })
      return snapshot(host)
    }
    t.same(differences(load('accept', 'drop'), load('drop', 'accept'), ['iptables']), [
      '~ nftables in another order or number',
    ])
  }),
)

t.test('a failing plugin gives its error document, a started one its answer later', t =>
  withHost(t, async host => {
    const { options } = attach(host, 'one')
    const failed = runPlugin('bridge', { ...options, command: 'ADD', containerId: '../one' })
    t.equal(failed.status, 1)
    t.equal(failed.error?.code, 4)
    t.equal(failed.result, undefined)
    const child = startPlugin('bridge', { ...options, command: 'VERSION' })
    t.match(answerOf(await child.ended).json, { supportedVersions: /./ })
  }),
)

t.test('everything is removed although the test throws, starts processes and leaves state', async t => {
  const before = machineState()
  let directory = ''
  let names: string[] = []
  await t.rejects(
    withHost(t, host => {
      directory = host.directory
      createOutside(host)
      names = host.names()
      mkdirSync(host.dataDirectory)
      writeFileSync(join(host.dataDirectory, 'x'), '')
      host.start(['sleep', '1000'])
      throw new Error('as a failing assertion would')
    }),
    { message: 'as a failing assertion would' },
  )
  t.notOk(existsSync(directory))
  t.equal(names.length, 2)
  t.notOk(readdirSync('/run/netns').some(name => names.includes(name)))
  t.same(machineState(), before)
})
