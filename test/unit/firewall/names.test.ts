import fc from 'fast-check'
import t from 'tap'
import { parsePrefix } from '../../../lib/address/prefix.ts'
import { shortened } from '../../../lib/firewall/attachment.ts'
import { chainName, isChainName, ownerInComment, ruleComment } from '../../../lib/firewall/iptables/names.ts'
import {
  attachmentWords,
  masqueradeSet,
  masqueradeSetPrefix,
  networkPrefix,
  ownerComment,
} from '../../../lib/firewall/nftables/layout.ts'
import { sourceKey } from '../../../lib/firewall/nftables/spoof-check-objects.ts'
import { COMMENT_MAX_BYTES } from '../../../lib/netlink/netfilter/userdata.ts'
import { encodeText } from '../../../lib/sys/bytes.ts'

const prefix = (text: string) => {
  const parsed = parsePrefix(text)
  if (parsed === undefined) throw new TypeError(text)
  return parsed
}

/** NFT_NAME_MAXLEN, without the final NUL. */
const NAME_LIMIT = 255

t.test('the set of an address is named after its network and subnet', async t => {
  t.equal(masqueradeSet('podnet', prefix('10.1.2.3/16')).set, 'masquerade/podnet/10.1.0.0/16')
  t.equal(masqueradeSet('podnet', prefix('fd00:1::5/64')).set, 'masquerade/podnet/fd00-1--/64')
  t.equal(masqueradeSet('podnet', prefix('10.1.2.3/32')).set, 'masquerade/podnet/10.1.2.3/32')
})

t.test('the comment of an element names container and interface', async t => {
  const containerId = '3f0ef4a09c1b'.repeat(5)
  t.equal(ownerComment({ containerId, ifname: 'eth0' }), `${containerId} eth0`)
})

t.test('names fit, can be loaded by nft, and differ where what they name differs', async t => {
  const name = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'aB0_.-'), minLength: 1, maxLength: 6 }),
    fc.string({ minLength: 1, maxLength: 400 }),
    fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 180, maxLength: 200 }),
  )
  const longest = prefix('aaaa:bbbb:cccc:dddd:eeee:ffff:aaaa:bbbb/128')
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(name, name, (one, two) => {
        const [a, b] = [masqueradeSet(one, longest).set, masqueradeSet(two, longest).set]
        const [c, d] = [one, two].map(containerId => ownerComment({ containerId, ifname: 'interface-name0' }))
        return (
          a.length <= NAME_LIMIT &&
          /^[a-zA-Z][a-zA-Z0-9/_.-]*$/.test(a) &&
          encodeText(c ?? '').length <= COMMENT_MAX_BYTES &&
          (one === two) === (a === b) &&
          (one === two) === (c === d) &&
          (one === two || !a.startsWith(masqueradeSetPrefix(two)))
        )
      }),
      { numRuns: 2000 },
    ),
  )
})

t.test(
  'the comment in a set of all networks fits with a namespace behind it, names one attachment, and begins with its network',
  async t => {
    const name = fc.string({ unit: fc.constantFrom(...'aB0_.-'), minLength: 1, maxLength: 80 })
    t.doesNotThrow(() =>
      fc.assert(
        fc.property(name, name, name, name, (network, containerId, otherNetwork, otherId) => {
          const comment = attachmentWords({ network, containerId, ifname: 'interface-name0' })
          const other = attachmentWords({ network: otherNetwork, containerId: otherId, ifname: 'interface-name0' })
          return (
            encodeText(`${comment} 4294967295`).length <= COMMENT_MAX_BYTES &&
            (comment === other) === (network === otherNetwork && containerId === otherId) &&
            comment.startsWith(networkPrefix(otherNetwork)) === (network === otherNetwork)
          )
        }),
        { numRuns: 2000 },
      ),
    )
  },
)

t.test('the key of the spoof check is name and address, each padded to registers', async t => {
  const key = sourceKey({ port: 'veth0123456789a', mac: Uint8Array.of(10, 88, 10, 1, 0, 5) })
  t.same([...key.slice(0, 16)], [...encodeText('veth0123456789a'), 0])
  t.same([...key.slice(16)], [10, 88, 10, 1, 0, 5, 0, 0])
})

t.test('shortened() leaves what fits and keeps a recognisable beginning of what does not', async t => {
  t.equal(shortened('podnet', 40, '~'), 'podnet')
  t.match(shortened('x'.repeat(60), 50, '~'), /^x{17}~[0-9a-f]{32}$/)
  t.match(shortened('a b', 50, '~'), /^a_b~[0-9a-f]{32}$/)
})

t.test('iptables chains and comments are those of the Go plugins', async t => {
  // Debian's containernetworking-plugins 1.1.1, network "podnet", container "cont1"
  t.equal(chainName('podnet', 'cont1'), 'CNI-a11d80892441976f572685fa')
  t.equal(ruleComment('podnet', 'cont1'), 'name: "podnet" id: "cont1"')
  t.ok(isChainName(chainName('podnet', 'cont1')))
  for (const foreign of ['CNI-FORWARD', 'CNI-DN-a11d80892441976f5726', 'KUBE-a11d80892441976f572685fa'])
    t.notOk(isChainName(foreign), foreign)
})

t.test('a comment tells its owner, and only one of this form does', async t => {
  t.same(ownerInComment(ruleComment('podnet', 'cont1')), { network: 'podnet', containerId: 'cont1' })
  for (const other of ['', 'dnat name: "podnet" id: "cont1"', 'name: "podnet"', 'name: "pod\\"net" id: "x"'])
    t.equal(ownerInComment(other), undefined, other)
})
