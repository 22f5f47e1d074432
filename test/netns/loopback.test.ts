/** The loopback plugin, driven as a container runtime drives it. */

import t from 'tap'
import { FAIL_STEP_VARIABLE } from '../../lib/cni/transaction.ts'
import { cniVersions } from '../../lib/cni/types.ts'
import {
  type Host,
  mustRunPlugin,
  type NetworkNamespace,
  type PluginOptions,
  runPlugin,
  withHost,
} from '../harness/index.ts'

const config = (more: object = {}) => ({ cniVersion: '1.1.0', name: 'lo', type: 'loopback', ...more })

const options = (host: Host, netns: NetworkNamespace | string, command: string, more: object = {}): PluginOptions => ({
  host,
  command,
  config: config(more),
  containerId: 'c1',
  netns,
  ifname: 'lo',
})

const flags = (container: NetworkNamespace) =>
  container.show<{ flags: string[] }[]>('link', 'show', 'dev', 'lo')[0]?.flags

t.test('ADD brings lo up and lists it with its addresses; DEL brings it down', t =>
  withHost(t, host => {
    const container = host.createContainer()
    const { result } = mustRunPlugin('loopback', options(host, container, 'ADD'))
    t.same(result, {
      cniVersion: '1.1.0',
      interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: container.path }],
      ips: [
        { interface: 0, address: '127.0.0.1/8' },
        { interface: 0, address: '::1/128' },
      ],
    })
    t.ok(container.pings('127.0.0.1'))
    t.ok(container.pings('::1'))
    t.equal(mustRunPlugin('loopback', options(host, container, 'CHECK', { prevResult: result })).stdout, '')

    t.equal(mustRunPlugin('loopback', options(host, container, 'DEL')).stdout, '')
    t.notOk(flags(container)?.includes('UP'), 'down again')
    mustRunPlugin('loopback', options(host, container, 'DEL'))
    t.match(runPlugin('loopback', options(host, container, 'CHECK', { prevResult: result })).error, {
      code: 105,
      msg: 'loopback interface is down',
      details: /ip link set lo up/,
    })
  }),
)

t.test('a second ADD of the same container succeeds', t =>
  withHost(t, host => {
    const container = host.createContainer()
    const first = mustRunPlugin('loopback', options(host, container, 'ADD'))
    t.same(mustRunPlugin('loopback', options(host, container, 'ADD')).json, first.json)
  }),
)

t.test('the result has the form of the configuration’s version', t =>
  withHost(t, host => {
    const container = host.createContainer()
    for (const cniVersion of cniVersions) {
      const { result } = mustRunPlugin('loopback', options(host, container, 'ADD', { cniVersion }))
      t.equal(result?.cniVersion, cniVersion)
      if (cniVersion < '0.3.0') t.match(result, { ip4: { ip: '127.0.0.1/8' }, ip6: { ip: '::1/128' } }, cniVersion)
      else t.match(result, { interfaces: [{ name: 'lo' }], ips: [{ address: '127.0.0.1/8' }, {}] }, cniVersion)
    }
  }),
)

t.test('CNI_IFNAME does not matter: there is one loopback interface', t =>
  withHost(t, host => {
    const container = host.createContainer()
    const { result } = mustRunPlugin('loopback', { ...options(host, container, 'ADD'), ifname: 'eth0' })
    t.match(result, { interfaces: [{ name: 'lo' }] })
    t.ok(flags(container)?.includes('UP'))
  }),
)

t.test('in a chain the result of the plugin before passes through as it is', t =>
  withHost(t, host => {
    const container = host.createContainer()
    const prevResult = {
      cniVersion: '1.1.0',
      interfaces: [{ name: 'eth0', mac: '0a:00:00:00:00:01', sandbox: container.path, mtu: 1400 }],
      ips: [{ interface: 0, address: '10.1.0.5/16', gateway: '10.1.0.1' }],
      routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1300 }],
      dns: { nameservers: ['10.1.0.1'] },
    }
    const { result } = mustRunPlugin('loopback', options(host, container, 'ADD', { prevResult }))
    t.same(result, prevResult)
    t.ok(flags(container)?.includes('UP'))
  }),
)

t.test('an address that is not a loopback address is refused before lo comes up', t =>
  withHost(t, host => {
    for (const address of ['10.9.9.9/32', '2001:db8::9/128']) {
      const container = host.createContainer()
      container.ip(`addr add ${address} dev lo`)
      const { error } = runPlugin('loopback', options(host, container, 'ADD'))
      t.match(error, { code: 104, msg: /non-loopback address/, details: new RegExp(`ip address delete ${address}`) })
      t.notOk(flags(container)?.includes('UP'), 'as it was')
    }
  }),
)

t.test('an ADD that fails after lo is up brings it down again, but not when it was up before', t =>
  withHost(t, host => {
    const container = host.createContainer()
    const failing = { ...options(host, container, 'ADD'), environment: { [FAIL_STEP_VARIABLE]: '1' } }
    t.ok(runPlugin('loopback', failing).error)
    t.notOk(flags(container)?.includes('UP'))
    container.ip('link set lo up')
    t.ok(runPlugin('loopback', failing).result, 'nothing to do, so no step that can fail')
    t.ok(flags(container)?.includes('UP'))
  }),
)

t.test('DEL succeeds without a namespace', t =>
  withHost(t, host => {
    for (const netns of ['', '/run/netns/cnikit-no-such-namespace', '/proc/self/ns/no-such'])
      t.equal(mustRunPlugin('loopback', options(host, netns, 'DEL')).stdout, '', netns)
  }),
)

t.test('ADD into a path that is no network namespace fails', t =>
  withHost(t, host => {
    for (const netns of ['/run/netns/cnikit-no-such-namespace', '/etc/hostname', '/proc/self/ns/mnt', host.directory]) {
      const { error } = runPlugin('loopback', options(host, netns, 'ADD'))
      t.equal(error?.code, 8, netns)
      t.ok(error?.msg.includes(netns), 'the message names the path')
    }
  }),
)

t.test('GC and STATUS succeed without output', t =>
  withHost(t, host => {
    for (const [command, more] of [
      ['GC', { 'cni.dev/valid-attachments': [] }],
      ['STATUS', {}],
    ] as const)
      t.equal(mustRunPlugin('loopback', { host, command, config: config(more) }).stdout, '', command)
  }),
)
