import fc from 'fast-check'
import t from 'tap'
import {
  decodeAnswer,
  encodeRequest,
  messagesOf,
  type ReceivedMessage,
  type Request,
} from '../../../lib/netlink/message.ts'
import { concatenatedLength, datatypeNumber } from '../../../lib/netlink/netfilter/datatype.ts'
import { createElements, elementFormat, elementsOf, type SetElement } from '../../../lib/netlink/netfilter/element.ts'
import { addressInNetwork, inSet, masquerade, ofFamily, verdict } from '../../../lib/netlink/netfilter/expressions.ts'
import { createRule, ruleFormat } from '../../../lib/netlink/netfilter/rule.ts'
import { createSet, setFormat } from '../../../lib/netlink/netfilter/set.ts'
import { ByteWriter, DecodeError } from '../../../lib/netlink/wire.ts'
import { allocate } from '../../../lib/sys/bytes.ts'

const set = { family: 'inet', table: 'cnikit', set: 's' } as const
const chain = { family: 'inet', table: 'cnikit', chain: 'c' } as const

function encoded(request: Request): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter()
  encodeRequest(writer, request, 1)
  return writer.finish()
}

function onlyMessage(bytes: Uint8Array<ArrayBuffer>): ReceivedMessage {
  const [message, ...more] = messagesOf(bytes)
  if (message === undefined || more.length > 0) throw new Error(`${more.length + 1} messages`)
  return message
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex').match(/.{8}/g)?.join(' ')

const elements: SetElement[] = [
  { key: Uint8Array.of(10, 1, 0, 5), comment: 'container one' },
  { key: Uint8Array.of(10, 1, 0, 6), keyEnd: Uint8Array.of(10, 1, 0, 9), value: Uint8Array.of(0, 80) },
  { key: Uint8Array.of(10, 2, 0, 0), intervalEnd: true },
  { key: Uint8Array.of(10, 1, 0, 7), verdict: { code: 'goto', chain: 'c' } },
  { key: Uint8Array.of(10, 1, 0, 8), verdict: { code: 'drop' } },
]

const requests = {
  elements: createElements(set, elements, { exclusive: true }),
  rule: createRule(
    chain,
    [
      ...ofFamily('ip'),
      inSet('s'),
      ...addressInNetwork('ip', 'daddr', 'neq', Uint8Array.of(10, 1, 0, 0), 16),
      masquerade(),
    ],
    { comment: 'a rule' },
  ),
  set: createSet(set, { key: ['ipv4_addr', 'inet_service'], interval: true, size: 7, comment: 'a set' }),
}

t.test('createElements() writes what nft writes', async t => {
  // nft 1.0.6: create element inet cnikit s { 10.1.0.5 comment "ab" }, from strace; nft adds an NFTA_SET_ELEM_LIST_SET_ID.
  const request = createElements(set, [{ key: Uint8Array.of(10, 1, 0, 5), comment: 'ab' }], { exclusive: true })
  t.equal(
    hex(encoded(request)),
    [
      // struct nlmsghdr, struct nfgenmsg
      '48000000 0c0a0106 01000000 00000000 01000000',
      // NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET
      '0b000100 636e696b 69740000 06000200 73000000',
      // NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE, NFTA_SET_ELEM_USERDATA
      '20000380 1c000180 0c000180 08000100 0a010005 09000600 00036162 00000000',
    ].join(' '),
  )
})

t.test('elements that were written are read again', async t => {
  const answer = decodeAnswer(elementFormat, onlyMessage(encoded(requests.elements)))
  t.same(elementsOf(answer), elements)
})

t.test('a rule that was written is read again, and written the same', async t => {
  const { attributes } = decodeAnswer(ruleFormat, onlyMessage(encoded(requests.rule)))
  t.match(attributes.expressions, [{ name: 'meta' }, { name: 'cmp' }, { name: 'lookup' }, { name: 'payload' }])
  const again = createRule(chain, attributes.expressions ?? [], { comment: 'a rule' })
  t.same(encoded(again), encoded(requests.rule))
})

t.test('an expression that is not known here keeps its bytes', async t => {
  const raw = Uint8Array.of(8, 0, 1, 0, 0, 0, 0, 1)
  const request = createRule(chain, [{ name: 'quota', data: { raw } }, verdict('accept')])
  const { attributes } = decodeAnswer(ruleFormat, onlyMessage(encoded(request)))
  t.same(attributes.expressions?.[0], { name: 'quota', data: { raw } })
  t.same(encoded(createRule(chain, attributes.expressions ?? [])), encoded(request))
})

t.test('an element without a key, which stands for all others, is passed over', async t => {
  t.same(elementsOf({ attributes: { elements: [{ flags: 2 }] } }), [])
  t.same(elementsOf({ attributes: {} }), [])
})

t.test('data types have the numbers and lengths of nft', async t => {
  t.equal(datatypeNumber(['ipv4_addr']), 7)
  t.equal(datatypeNumber(['ipv4_addr', 'inet_service']), (7 << 6) | 13)
  t.equal(datatypeNumber(['inet_proto', 'ipv4_addr', 'inet_service']), (12 << 12) | (7 << 6) | 13)
  t.equal(concatenatedLength(['ether_addr']), 6)
  t.equal(concatenatedLength(['ifname', 'ether_addr']), 24)
  t.equal(concatenatedLength(['inet_proto', 'inet_service']), 8)
})

t.test('prefixes of any length have the mask of their length', async t => {
  const maskOf = (length: number) => {
    const [, bitwise] = addressInNetwork('ip', 'daddr', 'eq', Uint8Array.of(0, 0, 0, 0), length)
    const { data } = bitwise ?? {}
    return data !== undefined && 'mask' in data ? [...(data.mask?.value ?? [])].join('.') : undefined
  }
  t.equal(maskOf(0), '0.0.0.0')
  t.equal(maskOf(4), '240.0.0.0')
  t.equal(maskOf(16), '255.255.0.0')
  t.equal(maskOf(23), '255.255.254.0')
  t.equal(maskOf(32), '255.255.255.255')
})

const readers = {
  elements: (message: ReceivedMessage) => elementsOf(decodeAnswer(elementFormat, message)),
  rule: (message: ReceivedMessage) => decodeAnswer(ruleFormat, message),
  set: (message: ReceivedMessage) => decodeAnswer(setFormat, message),
}

t.test('a message that was cut or garbled is an error that says where, or is read as what is left', async t => {
  const readOrRefuse = (bytes: Uint8Array<ArrayBuffer>, kind: keyof typeof readers): boolean => {
    try {
      for (const message of messagesOf(bytes)) readers[kind](message)
      return true
    } catch (error) {
      return error instanceof DecodeError && error.offset >= 0 && error.offset <= bytes.length
    }
  }
  for (const kind of ['elements', 'rule', 'set'] as const) {
    const whole = encoded(requests[kind])
    for (let length = 0; length < whole.length; length++) {
      const cut = allocate(length)
      cut.set(whole.subarray(0, length))
      if (!readOrRefuse(cut, kind)) t.fail(`${kind} cut to ${length} bytes`)
    }
    t.doesNotThrow(() =>
      fc.assert(
        fc.property(fc.nat(whole.length - 1), fc.nat(255), (position, value) => {
          const garbled = allocate(whole.length)
          garbled.set(whole)
          garbled[position] = value
          return readOrRefuse(garbled, kind)
        }),
        { numRuns: 500 },
      ),
    )
    const short = allocate(whole.length - 8)
    short.set(whole.subarray(0, short.length))
    t.throws(() => [...messagesOf(short)], DecodeError, `${kind}: less than the header announces`)
  }
})
