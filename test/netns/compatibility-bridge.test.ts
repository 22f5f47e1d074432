/** Our bridge plugin and the Go plugin on one host: either cleans up after the other, as far as docs/bridge.md says. */

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  type Attachment,
  deleteNamespaces,
  goPluginDirectory,
  type Host,
  hostLocal,
  Network,
  subnets,
  withHost,
} from '../harness/index.ts'

/** One network as each of the two plugins sees it, on one bridge and one directory of addresses. */
function bothSides(host: Host, keys: object = {}): { ours: Network; theirs: Network } {
  const ours = new Network(host, {
    cniVersion: '1.0.0',
    ipMasq: true,
    ipMasqBackend: 'iptables',
    ipam: hostLocal(host, subnets.ipv4, subnets.ipv6),
    ...keys,
  })
  return { ours, theirs: ours.with({}, goPluginDirectory) }
}

/** What is left of an attachment on the host. */
function remains(host: Host, { container, addresses }: Attachment): string[] {
  const rules = host.output(['nft', 'list', 'ruleset'])
  const reserved = addresses.filter(address => existsSync(join(host.dataDirectory, 'podnet', address)))
  return [
    ...(existsSync(container.path) ? container.links().filter(name => name !== 'lo') : []),
    ...host.links().filter(name => name.startsWith('veth')),
    ...reserved.map(address => `reserved ${address}`),
    ...addresses
      .filter(address => new RegExp(`${address}(?![0-9a-f:./])`).test(rules))
      .map(address => `rule ${address}`),
  ]
}

t.test('the Go plugin deletes what ours has made: interface, addresses, iptables masquerade', t =>
  withHost(t, host => {
    const { ours, theirs } = bothSides(host)
    const attachment = ours.attach()
    t.equal(remains(host, attachment).length, 6, 'interface and port, two addresses, two of them masqueraded')
    theirs.adopt(attachment).del()
    t.same(remains(host, attachment), [])
    attachment.del()
  }),
)

t.test('the Go plugin finds nothing wrong with what ours has made', t =>
  withHost(t, host => {
    const { ours, theirs } = bothSides(host)
    t.equal(theirs.adopt(ours.attach()).check().stdout, '')
  }),
)

/** The kernel removes what is in a namespace some time after its last name is gone. */
async function deleteNamespace({ container, network }: Attachment): Promise<void> {
  const ports = () => network.host.links().filter(name => name.startsWith('veth'))
  const before = ports().length
  deleteNamespaces([container.name])
  while (ports().length === before) await new Promise(resolve => setTimeout(resolve, 10))
}

const ways: Readonly<Record<string, (attachment: Attachment) => unknown>> = {
  'as a runtime does': attachment => attachment.del(),
  'without prevResult': attachment => attachment.del({ withoutResult: true }),
  'after the namespace was deleted': async attachment => {
    await deleteNamespace(attachment)
    attachment.del()
  },
  'after the namespace was deleted, without prevResult': async attachment => {
    await deleteNamespace(attachment)
    attachment.del({ withoutResult: true, netns: '' })
  },
}

for (const [how, del] of Object.entries(ways))
  t.test(`our DEL removes what the Go plugin has made, ${how}`, t =>
    withHost(t, async host => {
      const { ours, theirs } = bothSides(host)
      const attachment = theirs.attach()
      t.equal(remains(host, attachment).length, 6)
      await del(ours.adopt(attachment))
      t.same(remains(host, attachment), [])
    }),
  )

t.test('the Go plugin removes a container that ours has masqueraded by nftables; the element stays until our GC', t =>
  withHost(t, host => {
    const { ours, theirs } = bothSides(host, { ipMasqBackend: 'nftables' })
    const attachment = ours.attach()
    const { error } = theirs.run({ ...theirs.adopt(attachment).request('DEL'), netns: attachment.container })
    t.match(error?.msg, /iptables/, 'it misses its own rules, after all else is done')
    theirs.adopt(attachment).del()
    t.same(
      remains(host, attachment),
      attachment.addresses.map(address => `rule ${address}`),
    )
    ours.with({ cniVersion: '1.1.0' }).gc([])
    t.same(remains(host, attachment), [])
  }),
)

t.test('our GC takes what the Go plugin has left, except an interface in a namespace that lives', t =>
  withHost(t, host => {
    const { ours, theirs } = bothSides(host)
    const [kept, lost, living] = [theirs.attach(), theirs.attach(), theirs.attach()]
    deleteNamespaces([lost.container.name])
    const now = ours.with({ cniVersion: '1.1.0' })
    now.gc([kept])
    t.same(
      lost.addresses.filter(address => existsSync(join(host.dataDirectory, 'podnet', address))),
      [],
    )
    const rules = host.output(['nft', 'list', 'ruleset'])
    for (const address of lost.addresses) t.notMatch(rules, new RegExp(`${address}\\b(?![:.])`))
    t.same(living.container.links(), ['lo', 'eth0'], 'it does not know whose that is')
    t.equal(kept.check().stdout, '', 'what is valid is as the Go plugin made it')
  }),
)

t.test('containers of both plugins share a bridge and the addresses, and reach each other', t =>
  withHost(t, host => {
    const { ours, theirs } = bothSides(host, { ipMasq: false })
    const made = [ours.attach(), theirs.attach(), ours.attach(), theirs.attach()]
    t.equal(new Set(made.flatMap(({ addresses }) => addresses)).size, 8)
    t.same(host.addresses('br0').toSorted(), ['10.88.0.1/24', 'fd00:88::1/64'])
    for (const from of made)
      for (const to of made) if (from !== to) t.ok(from.container.pings(to.address), `${from.address} to ${to.address}`)
    for (const attachment of made) t.equal(attachment.check().stdout, '')
  }),
)

t.test('after a change of plugin in the middle nothing is left', t =>
  withHost(t, host => {
    const { ours, theirs } = bothSides(host)
    const before = [theirs.attach(), theirs.attach()]
    const after = [ours.attach(), ours.attach()]
    for (const attachment of before) ours.adopt(attachment).del()
    for (const attachment of after) attachment.del()
    t.same(host.links(), ['lo', 'br0'])
    t.same(
      readdirSync(join(host.dataDirectory, 'podnet')).filter(name => /[.:]\d/.test(name) && !name.startsWith('last')),
      [],
    )
    t.notMatch(host.output(['iptables-save', '-t', 'nat']), /CNI-/)
    t.notMatch(host.output(['ip6tables-save', '-t', 'nat']), /CNI-/)
  }),
)

t.test('our STATUS and our CHECK on a host of the Go plugin', t =>
  withHost(t, host => {
    const { ours, theirs } = bothSides(host)
    const attachment = theirs.attach()
    t.equal(ours.with({ cniVersion: '1.1.0' }).status().stdout, '')
    const { error } = ours.adopt(attachment).check()
    t.equal(error, undefined)
  }),
)
