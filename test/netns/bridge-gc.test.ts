/** GC and STATUS of the bridge plugin. */

import { existsSync, readdirSync } from 'node:fs'
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
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'

const backends = ['nftables', 'iptables'] as const

function dualStack(host: Host, keys: object = {}): Network {
  return new Network(host, { ipMasq: true, ipam: hostLocal(host, subnets.ipv4, subnets.ipv6), ...keys })
}

/** Names of all links, and of all addresses that are taken, of the network and its firewall. */
function traces(host: Host, { addresses, port }: Attachment): string[] {
  const rules = host.output(['nft', 'list', 'ruleset'])
  const files = addresses.filter(address => existsSync(join(host.dataDirectory, 'podnet', address)))
  // A word of its own: fd00:88::2 is the beginning of fd00:88::20.
  const ruled = addresses.filter(address => new RegExp(`${address}(?![0-9a-f:./])`).test(rules))
  return [
    ...host.links().filter(name => name === port),
    ...files.map(file => `file ${file}`),
    ...ruled.map(rule => `rule ${rule}`),
  ]
}

for (const ipMasqBackend of backends)
  t.test(`GC removes exactly what is not valid: links, addresses, masquerade (${ipMasqBackend})`, t =>
    withHost(t, host => {
      const network = dualStack(host, { ipMasqBackend })
      const [kept, lost, third] = [network.attach(), network.attach(), network.attach()]
      const other = network.with({ name: 'othernet', bridge: 'br1', ipam: hostLocal(host, '10.89.0.0/24') }).attach()
      deleteNamespaces([third.container.name])
      t.equal(traces(host, lost).length, 5, 'a link, two addresses, two of them masqueraded')
      network.gc([kept])
      t.same(traces(host, lost), [], 'of one whose namespace is there')
      t.same(traces(host, third), [], 'of one whose namespace is gone')
      t.same(lost.container.links(), ['lo'])
      t.equal(kept.check().stdout, '', 'the valid attachment is untouched')
      t.equal(other.check().stdout, '', 'and so is another network')
    }),
  )

for (const ipMasqBackend of backends)
  t.test(`GC tells two attachments of one container apart (${ipMasqBackend})`, t =>
    withHost(t, host => {
      const network = dualStack(host, { ipMasqBackend })
      const first = network.attach({ containerId: 'both' })
      const second = network.attach({ containerId: 'both', ifname: 'net1', container: first.container })
      network.gc([first])
      t.same(first.container.links(), ['lo', 'eth0'])
      t.equal(first.check().stdout, '')
      // With iptables the container's attachments share a chain, and its rules do not name the interface.
      if (ipMasqBackend === 'nftables') t.same(traces(host, second), [])
      else
        t.same(
          traces(host, second).filter(trace => !trace.startsWith('rule ')),
          [],
        )
    }),
  )

t.test('GC without the key removes nothing', t =>
  withHost(t, host => {
    const network = dualStack(host)
    const attachment = network.attach()
    const before = snapshot(host)
    network.gc(undefined)
    assertSameSnapshot(t, before, snapshot(host), 'all is there')
    t.equal(attachment.check().stdout, '')
  }),
)

t.test('GC knows the key by the name that a draft of 1.1.0 gave it', t =>
  withHost(t, host => {
    const network = dualStack(host)
    const [kept, lost] = [network.attach(), network.attach()]
    const attachments = [{ containerID: kept.containerId, ifname: 'eth0' }]
    network.mustRun({ command: 'GC', config: { ...network.config, 'cni.dev/attachments': attachments } })
    t.same(traces(host, lost), [])
    t.equal(kept.check().stdout, '')
  }),
)

for (const ipMasqBackend of backends)
  t.test(`GC of an empty list removes all but the bridge, and again changes nothing (${ipMasqBackend})`, t =>
    withHost(t, host => {
      const network = dualStack(host, { ipMasqBackend, macspoofchk: true })
      const attached = [network.attach(), network.attach()]
      network.gc([])
      for (const attachment of attached) t.same(traces(host, attachment), [])
      t.same(host.links(), ['lo', 'br0'])
      t.same(
        readdirSync(join(host.dataDirectory, 'podnet')).filter(name => /^[0-9a-f]+[.:]/.test(name)),
        [],
      )
      const before = snapshot(host)
      network.gc([])
      assertSameSnapshot(t, before, snapshot(host), 'nothing more to do')
      t.equal(network.attach().check().stdout, '', 'the next ADD builds anew what it needs')
    }),
  )

t.test('GC removes what a killed ADD, a lost cache and a flushed ruleset have left', t =>
  withHost(t, host => {
    const network = dualStack(host)
    network.attach()
    host.output(['nft', 'flush ruleset'])
    network.gc([])
    t.same(host.links(), ['lo', 'br0'])
  }),
)

t.test("GC leaves links alone that are not this plugin's", t =>
  withHost(t, host => {
    const network = dualStack(host)
    network.attach()
    host.ip(
      'link add veth0123 type veth peer name other\nlink set veth0123 alias "cnikit"\nlink set veth0123 master br0',
    )
    network.gc([])
    t.same(host.links().toSorted(), ['br0', 'lo', 'other', 'veth0123'])
  }),
)

t.test('GC of a network whose name begins with the name of another', t =>
  withHost(t, host => {
    const short = dualStack(host, { name: 'net' })
    const long = dualStack(host, { name: 'net.2', bridge: 'br1', ipam: hostLocal(host, '10.89.0.0/24') })
    const attachment = long.attach()
    short.gc([])
    t.equal(attachment.check().stdout, '')
  }),
)

for (const cniVersion of ['0.4.0', '1.0.0'])
  t.test(`GC and STATUS are refused for ${cniVersion}, which does not know them`, t =>
    withHost(t, host => {
      const network = dualStack(host, { cniVersion })
      for (const command of ['GC', 'STATUS']) {
        const { error } = network.run({ command, config: network.config })
        t.equal(error?.code, 1)
        t.equal(error?.msg, `config version does not allow ${command}`)
      }
    }),
  )

t.test('STATUS is silent when ADD can be served, before the first container and beside others', t =>
  withHost(t, host => {
    const network = dualStack(host)
    const before = snapshot(host)
    const fine = () => {
      const { status, stdout, stderr } = network.status()
      t.strictSame({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' })
    }
    fine()
    t.same(differences(before, snapshot(host)), [], 'asking changes nothing')
    network.attach()
    fine()
  }),
)

t.test('STATUS says 50 when the name of the bridge is taken by another kind of link', t =>
  withHost(t, host => {
    host.ip('link add br0 type veth peer name other')
    const network = dualStack(host)
    const { error } = network.status()
    t.equal(error?.code, 50)
    t.match(error?.msg, /"br0" already exists but is not a bridge/)
    const attachment = network.attachment()
    t.equal(attachment.tryAdd().error?.code, 104, 'ADD says so too')
    t.same(attachment.container.links(), ['lo'])
  }),
)

t.test('STATUS says 50 when no address is free', t =>
  withHost(t, host => {
    const ranges = [[{ subnet: '10.88.0.0/24', rangeStart: '10.88.0.5', rangeEnd: '10.88.0.6' }]]
    const network = dualStack(host, { ipam: { ...hostLocal(host), ranges } })
    const first = network.attach()
    t.equal(network.status().status, 0, 'one is left')
    network.attach()
    const { error } = network.status()
    t.equal(error?.code, 50)
    t.match(error?.msg, /10\.88\.0\.5-10\.88\.0\.6/)
    first.del()
    t.equal(network.status().status, 0, 'one is free again')
  }),
)

t.test('STATUS says 7 when the configuration is wrong', t =>
  withHost(t, host => {
    t.equal(dualStack(host, { ipam: hostLocal(host, '10.88.0.0/31') }).status().error?.code, 7)
    t.equal(dualStack(host, { mtu: -1 }).status().error?.code, 7)
  }),
)

t.test('STATUS says 50 when the address plugin is missing', t =>
  withHost(t, host => {
    const { error } = dualStack(host, { ipam: { type: 'nowhere' } }).status()
    t.equal(error?.code, 50)
    t.match(error?.msg, /failed to find plugin "nowhere"/)
  }),
)
