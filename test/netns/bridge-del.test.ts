/** DEL of the bridge plugin: everything of the attachment goes, whatever is there of it and whatever is known of it. */

import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  type Attachment,
  assertSameSnapshot,
  deleteNamespaces,
  differences,
  type Host,
  hostLocal,
  Network,
  type Snapshot,
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'

const backends = ['nftables', 'iptables'] as const

function dualStack(host: Host, keys: object = {}): Network {
  return new Network(host, { ipMasq: true, ipam: hostLocal(host, subnets.ipv4, subnets.ipv6), ...keys })
}

/** The host with the bridge and the tables that one attachment needs and none after it removes. */
function primed(network: Network): Snapshot {
  network.attach().del()
  return snapshot(network.host)
}

t.test(
  'after the last DEL the bridge stays, with its addresses and empty sets; GC of an empty list removes the sets',
  t =>
    withHost(t, host => {
      const before = snapshot(host)
      const network = dualStack(host)
      network.attach().del()
      const left = differences(before, snapshot(host), ['sysctls', 'routes'])
      t.same(host.links(), ['lo', 'br0'])
      t.same(host.addresses('br0'), ['10.88.0.1/24', 'fd00:88::1/64'])
      t.same(
        left.filter(line => line.includes(' files ')),
        [],
      )
      const rules = left.filter(line => / (nftables|iptables) /.test(line))
      t.notSame(rules, [], 'the table stays')
      t.same(
        rules.filter(line => !line.includes('cnikit') || line.includes('"elem"')),
        [],
        'and is empty',
      )
      network.gc([])
      t.same(differences(before, snapshot(host), ['sysctls', 'routes', 'links', 'addresses']), [])
    }),
)

interface Way {
  readonly what: string
  readonly del: (attachment: Attachment, host: Host) => void
}

const ways: readonly Way[] = [
  { what: 'as a runtime does', del: attachment => attachment.del() },
  {
    what: 'twice',
    del: attachment => {
      attachment.del()
      attachment.del()
    },
  },
  { what: 'without prevResult', del: attachment => attachment.del({ withoutResult: true }) },
  { what: 'with CNI_NETNS=""', del: attachment => attachment.del({ netns: '' }) },
  {
    what: 'with CNI_NETNS="" and without prevResult',
    del: attachment => attachment.del({ netns: '', withoutResult: true }),
  },
  {
    what: 'after the namespace was deleted',
    del: attachment => {
      deleteNamespaces([attachment.container.name])
      attachment.del()
    },
  },
  {
    what: 'after the namespace was deleted, and without prevResult',
    del: attachment => {
      deleteNamespaces([attachment.container.name])
      attachment.del({ withoutResult: true })
    },
  },
  { what: 'with a path that never was', del: attachment => attachment.del({ netns: '/run/netns/cnikit-never' }) },
  { what: 'with a path that is no namespace', del: attachment => attachment.del({ netns: '/etc/passwd' }) },
  {
    what: 'after the interface was deleted in the container',
    del: attachment => {
      attachment.container.ip('link del eth0')
      attachment.del()
    },
  },
  {
    what: 'after the interface was renamed in the container',
    del: attachment => {
      attachment.container.ip('link set eth0 down\nlink set eth0 name eth7')
      attachment.del()
    },
  },
  {
    what: 'after the addresses were removed in the container',
    del: attachment => {
      attachment.container.ip('addr flush dev eth0')
      attachment.del({ withoutResult: true })
    },
  },
  {
    what: "with a prevResult of another attachment's version",
    del: attachment => {
      const prevResult = { cniVersion: '0.2.0', ip4: { ip: '10.88.0.2/24' } }
      attachment.network.mustRun(attachment.request('DEL', { prevResult }))
    },
  },
  {
    what: 'with a prevResult that is garbage',
    del: attachment =>
      attachment.network.mustRun(attachment.request('DEL', { prevResult: { ips: [{ address: 'x', interface: -3 }] } })),
  },
]

for (const ipMasqBackend of backends)
  t.test(`DEL leaves nothing, however it is called (${ipMasqBackend})`, t =>
    withHost(t, host => {
      const network = dualStack(host, { ipMasqBackend, macspoofchk: true, hairpinMode: true })
      const before = primed(network)
      for (const { what, del } of ways) {
        const attachment = network.attach()
        del(attachment, host)
        assertSameSnapshot(t, before, snapshot(host), what)
      }
    }),
  )

for (const ipMasqBackend of backends)
  t.test(`DEL of one leaves the others as they are (${ipMasqBackend})`, t =>
    withHost(t, host => {
      const network = dualStack(host, { ipMasqBackend })
      const [stays, goes] = [network.attach({ containerId: 'c1' }), network.attachment({ containerId: 'c10' })]
      const before = snapshot(host)
      goes.add()
      goes.del({ withoutResult: true, netns: '' })
      assertSameSnapshot(t, before, snapshot(host), 'as before the other came')
      t.equal(stays.check().stdout, '')
    }),
  )

t.test('DEL after the bridge was removed', t =>
  withHost(t, host => {
    const network = dualStack(host)
    const attachment = network.attach()
    host.ip('link del br0')
    attachment.del()
    t.same(host.links(), ['lo'])
    t.notOk(existsSync(join(host.dataDirectory, 'podnet', '10.88.0.2')))
    t.notMatch(host.output(['nft', 'list', 'ruleset']), /10\.88\.0\.2|fd00:88::2/)
  }),
)

for (const ipMasqBackend of backends)
  t.test(`DEL after "nft flush ruleset" (${ipMasqBackend})`, t =>
    withHost(t, host => {
      const network = dualStack(host, { ipMasqBackend, macspoofchk: true })
      const attachment = network.attach()
      host.output(['nft', 'flush ruleset'])
      attachment.del()
      t.same(host.links(), ['lo', 'br0'])
      t.equal(host.output(['nft', 'list', 'ruleset']), '', 'DEL does not bring tables back')
      t.notOk(existsSync(join(host.dataDirectory, 'podnet', '10.88.0.2')))
    }),
  )

t.test('DEL of what never was succeeds and changes nothing, on a host that has never seen a container', t =>
  withHost(t, host => {
    const network = dualStack(host, { macspoofchk: true })
    const before = snapshot(host)
    network.attachment().del()
    assertSameSnapshot(t, before, snapshot(host), 'nothing')
  }),
)

t.test('DEL of what never was succeeds whatever CNI_NETNS is', t =>
  withHost(t, host => {
    const attachment = dualStack(host).attachment()
    for (const netns of [
      '',
      '/run/netns/cnikit-never',
      '/etc/passwd',
      '/etc/passwd/netns',
      '/',
      '../..',
      '/proc/self/ns/mnt',
      'x'.repeat(5000),
    ])
      t.equal(attachment.del({ netns }).stdout, '', netns.slice(0, 30))
  }),
)

t.test('DEL does not touch an interface of that name that is none of ours', t =>
  withHost(t, host => {
    const container = host.createContainer()
    container.ip('link add eth0 type bridge')
    new Network(host).attachment({ container }).del()
    t.same(container.links(), ['lo', 'eth0'])
  }),
)

t.test('the address is free for the next only when the interface is gone, and then it is', t =>
  withHost(t, host => {
    const ipam = {
      ...hostLocal(host),
      ranges: [[{ subnet: '10.88.0.0/24', rangeStart: '10.88.0.5', rangeEnd: '10.88.0.5' }]],
    }
    const network = new Network(host, { ipam })
    const first = network.attach()
    const second = network.attachment()
    t.equal(second.tryAdd().error?.code, 102, 'the pool is exhausted')
    t.same(second.container.links(), ['lo'])
    first.del()
    second.add()
    t.equal(second.address, '10.88.0.5')
  }),
)

t.test(
  'DEL removes the interface although the address plugin is gone, fails for its sake, and succeeds when it is back',
  t =>
    withHost(t, host => {
      const network = new Network(host, { ipMasq: true, ipam: { type: 'from-elsewhere' } })
      const plugin = join(host.directory, 'from-elsewhere')
      const install = () =>
        writeFileSync(
          plugin,
          `#!/bin/sh
[ $CNI_COMMAND = ADD ] && echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.88.0.2/24"}]}'
exit 0`,
          { mode: 0o755 },
        )
      install()
      const path = { CNI_PATH: `${network.pluginDir}:${host.directory}`, PATH: '/usr/bin:/bin' }
      const attachment = network.attach({ environment: path })
      rmSync(plugin)
      const { error } = network.run(attachment.request('DEL'))
      t.equal(error?.code, 106)
      t.match(error?.msg, /from-elsewhere/)
      t.same(attachment.container.links(), ['lo'])
      t.notMatch(host.output(['nft', 'list', 'ruleset']), /10\.88\.0\.2/)
      install()
      attachment.del()
    }),
)

for (const cniVersion of ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0'])
  t.test(`DEL in ${cniVersion} with the result of its ADD`, t =>
    withHost(t, host => {
      const network = dualStack(host, { cniVersion })
      const before = primed(network)
      network.attach().del()
      assertSameSnapshot(t, before, snapshot(host), 'nothing is left')
    }),
  )
