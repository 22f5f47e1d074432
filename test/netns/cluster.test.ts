/** The cluster of the test harness: hosts that share an underlay and nothing else. */

import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { withCluster } from '../harness/index.ts'

t.test('hosts and the outside reach each other over the underlay, in both families', t =>
  withCluster(t, { hosts: 3, mtu: 1450 }, ({ hosts, outside }) => {
    for (const from of [...hosts, outside]) {
      for (const to of [...hosts, outside]) {
        t.ok(from.pings(to.underlay.ipv4), `${from.underlay.ipv4} reaches ${to.underlay.ipv4}`)
        t.ok(from.pings(to.underlay.ipv6), `${from.underlay.ipv6} reaches ${to.underlay.ipv6}`)
      }
    }
    t.equal(hosts[0]?.show('link', 'show', 'dev', 'uplink')[0]?.mtu, 1450)
  }),
)

t.test('every host has a /run and a /var/lib of its own, which the test can look into', t =>
  withCluster(t, {}, cluster => {
    const [one, two] = [cluster.host(1), cluster.host(2)]
    one.output(['sh', '-c', 'echo one > /run/mark; echo one > /var/lib/mark'])
    t.not(two.execute(['ls', '/run/mark']).status, 0)
    t.not(two.execute(['ls', '/var/lib/mark']).status, 0)
    t.notOk(existsSync('/run/mark'), 'nor does the machine see it')
    t.ok(existsSync(join(one.runDirectory, 'mark')))
    writeFileSync(join(two.stateDirectory, 'mark'), 'two')
    t.equal(two.output(['cat', '/var/lib/mark']), 'two')
  }),
)

t.test('namespaces made on a host are its own; containers are at the same path for the host and the test', t =>
  withCluster(t, {}, cluster => {
    const [one, two] = [cluster.host(1), cluster.host(2)]
    one.output(['ip', 'netns', 'add', 'same-name'])
    two.output(['ip', 'netns', 'add', 'same-name'])
    one.named('same-name').ip('link add only-here type bridge')
    t.same(one.named('same-name').links().toSorted(), ['lo', 'only-here'])
    t.same(two.named('same-name').links(), ['lo'])
    t.same(one.namedNamespaces(), ['same-name'])
    const container = one.createContainer()
    const inode = (lines: string) => lines.trim()
    const stat = ['stat', '-L', '-c', '%i', container.path]
    t.equal(inode(one.output(stat)), inode(container.output(['stat', '-L', '-c', '%i', '/proc/self/ns/net'])))
    t.not(two.execute(stat).status, 0, 'another host does not see it')
    one.deleteContainer(container)
    t.not(one.execute(stat).status, 0)
  }),
)

t.test('a host cut off is unreachable until it is connected again', t =>
  withCluster(t, {}, cluster => {
    const [one, two] = [cluster.host(1), cluster.host(2)]
    two.disconnect()
    t.notOk(one.pings(two.underlay.ipv4, 1))
    two.reconnect()
    t.ok(one.pings(two.underlay.ipv4, 5))
  }),
)
