import t from 'tap'
import { parsePrefix } from '../../../lib/address/prefix.ts'
import {
  ownerInPortForwardingComment,
  portForwardingChain,
  portForwardingComment,
} from '../../../lib/firewall/iptables/names.ts'
import { reclaimLines } from '../../../lib/firewall/iptables/port-forwarding-conflicts.ts'
import { wantedPorts } from '../../../lib/firewall/iptables/port-forwarding-rules.ts'
import { parseTable } from '../../../lib/firewall/iptables/table.ts'
import type { PortForwarding } from '../../../lib/firewall/port-forwarding-intent.ts'

const address = parsePrefix('10.1.0.5/16')
if (address === undefined) throw new TypeError('no prefix')
const asker = { network: 'podnet', containerId: 'asker', ifname: 'eth0' }
const wanted = (keys: Partial<PortForwarding> = {}): PortForwarding => ({
  mappings: [{ transport: 'tcp', hostPort: 8080, containerPort: 80, hostAddress: undefined }],
  addresses: [address],
  snat: true,
  masqueradeAll: false,
  preserveClientAddress: false,
  markBit: 13,
  externalMarkChain: undefined,
  conditions: { ip: [], ip6: [] },
  namespace: 100n,
  ...keys,
})

const rulesOf = (keys: Partial<PortForwarding>) =>
  wantedPorts(asker, wanted(keys), address)
    .rules.map(({ specification }) => specification)
    .filter(rule => rule.endsWith('-j CNI-HOSTPORT-SETMARK'))
    .map(rule => rule.replace(/^\S+ /, ''))

t.test('chain and comment are those of the Go plugin', async t => {
  // Debian's containernetworking-plugins 1.1.1, network "podnet", container "one"
  t.equal(portForwardingChain('podnet', 'one'), 'CNI-DN-8409d633228e8c2b5615f')
  t.equal(portForwardingComment('podnet', 'one'), 'dnat name: "podnet" id: "one"')
  t.same(ownerInPortForwardingComment('dnat name: "podnet" id: "one"'), { network: 'podnet', containerId: 'one' })
  for (const other of ['', 'name: "podnet" id: "one"', 'dnat name: "podnet"', 'snat name: "podnet" id: "one"'])
    t.equal(ownerInPortForwardingComment(other), undefined, other)
  t.equal(portForwardingComment('podnet', 'x'.repeat(300)).length, 255, 'iptables refuses a longer one')
})

t.test('what is masqueraded: the subnet and localhost, only the container itself, everything, or nothing', async t => {
  const port = '-p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK'
  t.same(rulesOf({}), [`-s 10.1.0.0/16 ${port}`, `-s 127.0.0.1/32 ${port}`])
  t.same(rulesOf({ preserveClientAddress: true }), [`-s 10.1.0.5/32 ${port}`, `-s 127.0.0.1/32 ${port}`])
  t.same(rulesOf({ masqueradeAll: true }), [port])
  t.same(rulesOf({ snat: false, masqueradeAll: true }), [])
})

const taken = `*nat
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-DN-others - [0:0]
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"othernet\\" id: \\"other\\"" -m multiport --dports 8080,8081 -j CNI-DN-others
-A CNI-DN-others -m comment --comment "othernet other eth0 7"
-A CNI-DN-others -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.9:80
-A CNI-DN-others -m comment --comment "othernet other eth1 8"
-A CNI-DN-others -p tcp -m tcp --dport 8081 -j DNAT --to-destination 10.1.0.10:80
COMMIT
`

t.test('of a dead owner only what is dead goes; a living one keeps its port', async t => {
  const lines = (gone: readonly bigint[], forwarding = wanted()) =>
    reclaimLines(parseTable('nat', taken), asker, wantedPorts(asker, forwarding, address), namespace =>
      gone.includes(namespace),
    )
  t.same(lines([7n]), [
    ':CNI-DN-others - [0:0]',
    '-A CNI-DN-others -m comment --comment "othernet other eth1 8"',
    '-A CNI-DN-others -p tcp -m tcp --dport 8081 -j DNAT --to-destination 10.1.0.10:80',
  ])
  const refused = { code: 104, message: /port 8080\/tcp of 192\.0\.2\.1 of the host is taken by container "other"/ }
  t.throws(() => lines([8n]), refused)
  t.same(
    lines([], wanted({ mappings: wanted().mappings.map(one => ({ ...one, transport: 'udp' })) })),
    [],
    'another protocol is another port',
  )
})
