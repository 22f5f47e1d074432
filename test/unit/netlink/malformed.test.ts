/** Whatever arrives, reading it ends, with values or with a DecodeError. */

import fc from 'fast-check'
import t from 'tap'
import type { AttributeTable, Codec } from '../../../lib/netlink/codec.ts'
import { decodeAnswer, HEADER_LENGTH, type MessageFormat, messagesOf } from '../../../lib/netlink/message.ts'
import { addressFormat, decodeAddress } from '../../../lib/netlink/route/addr/address.ts'
import { bridgePortFormat } from '../../../lib/netlink/route/link/bridge-vlan.ts'
import { decodeLink } from '../../../lib/netlink/route/link/link.ts'
import { linkFormat } from '../../../lib/netlink/route/link/message.ts'
import { neighbourFormat } from '../../../lib/netlink/route/neigh/message.ts'
import { routeFormat } from '../../../lib/netlink/route/route/message.ts'
import { decodeRoute } from '../../../lib/netlink/route/route/route.ts'
import { decodeRule, ruleFormat } from '../../../lib/netlink/route/rule/rule.ts'
import { DecodeError } from '../../../lib/netlink/wire.ts'
import { allocate } from '../../../lib/sys/bytes.ts'
import { readGolden } from './golden.ts'

type Bytes = Uint8Array<ArrayBuffer>
type Format = MessageFormat<unknown, AttributeTable<Readonly<Record<string, readonly [number, Codec<never>]>>>>

/** How the messages of a family are read, down to the objects. */
interface Reader {
  readonly format: Format
  readonly decode: (answer: never) => unknown
}

const reader = (format: unknown, decode: (answer: never) => unknown = () => undefined): Reader => ({
  format: format as Format,
  decode,
})

const readers: Readonly<Record<string, Reader>> = {
  link: reader(linkFormat, decodeLink),
  address: reader(addressFormat, decodeAddress),
  route: reader(routeFormat, decodeRoute),
  neigh: reader(neighbourFormat),
  fdb: reader(neighbourFormat),
  rule: reader(ruleFormat, decodeRule),
}

function readerOf(command: string): Reader {
  const [program, object = ''] = command.split(' ').filter(word => !word.startsWith('-'))
  const found = program === 'bridge' && object !== 'fdb' ? reader(bridgePortFormat) : readers[object]
  if (found === undefined) throw new Error(`no reader for: ${command}`)
  return found
}

const captured = [...readGolden('requests'), ...readGolden('replies')].flatMap(([command, messages]) =>
  messages.map(bytes => ({ command, bytes })),
)

/** Reads a datagram in whole. @returns how many messages it had, or the error that is allowed */
function read({ format, decode }: Reader, datagram: Bytes): number | DecodeError {
  try {
    let count = 0
    for (const message of messagesOf(datagram)) {
      decode(decodeAnswer(format, message) as never)
      count++
    }
    return count
  } catch (error) {
    if (error instanceof DecodeError) return error
    throw error
  }
}

t.test('a message cut off after any byte is refused, or holds fewer attributes', t => {
  for (const { command, bytes } of captured) {
    const reader = readerOf(command)
    t.equal(read(reader, bytes), 1, command)
    let refused = 0
    for (let length = 0; length < bytes.length; length++) {
      const datagram = bytes.slice(0, length)
      const outcome = read(reader, datagram)
      // The length that the header announces is no longer there.
      if (length >= HEADER_LENGTH) {
        if (!(outcome instanceof DecodeError)) t.fail(`${command}: accepted ${length} of ${bytes.length} bytes`)
      } else if (outcome !== 0) t.fail(`${command}: found a message in ${length} bytes`)
      if (length < HEADER_LENGTH) continue
      // The same with a header that tells the truth: the attribute at the cut is refused, unless the cut is between two.
      new DataView(datagram.buffer).setUint32(0, length, true)
      if (read(reader, datagram) instanceof DecodeError) refused++
    }
    t.ok(refused > 0, 'some cuts go through an attribute')
  }
  t.end()
})

t.test('a message with any bytes changed is read or refused', t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.constantFrom(...captured),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 }),
        ({ command, bytes }, changes) => {
          const datagram = bytes.slice()
          for (const [position, value] of changes) datagram[position % datagram.length] = value
          read(readerOf(command), datagram)
        },
      ),
      { numRuns: 5000 },
    ),
  )
  t.end()
})

t.test('any bytes at all are read or refused', t => {
  const formats = Object.values(readers)
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.constantFrom(...formats), fc.uint8Array({ maxLength: 300 }), (reader, bytes) => {
        const datagram = allocate(bytes.length)
        datagram.set(bytes)
        read(reader, datagram)
      }),
      { numRuns: 2000 },
    ),
  )
  t.end()
})

t.test('lengths that would lead nowhere are refused', t => {
  const message = (length: number, attribute: readonly number[]): Bytes => {
    const bytes = allocate(HEADER_LENGTH + 16 + attribute.length)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, length, true)
    view.setUint16(4, 16, true)
    bytes.set(attribute, HEADER_LENGTH + 16)
    return bytes
  }
  const link = reader(linkFormat, decodeLink)
  for (const [what, bytes] of [
    ['a message shorter than its header', message(15, [])],
    ['a message of no length', message(0, [])],
    ['a message longer than the datagram', message(100, [])],
    ['an attribute of no length', message(36, [0, 0, 3, 0])],
    ['an attribute shorter than its header', message(36, [3, 0, 3, 0])],
    ['an attribute longer than the message', message(40, [12, 0, 3, 0, 0, 0, 0, 0])],
    ['a number of too few bytes', message(38, [6, 0, 4, 0, 1, 2])],
  ] as const)
    t.type(read(link, bytes), DecodeError, what)
  t.end()
})

t.test('a next hop of no length does not go round for ever', t => {
  const hops = [8 + 4, 0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0]
  const bytes = allocate(HEADER_LENGTH + 12 + hops.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length, true)
  view.setUint16(4, 24, true)
  bytes.set(hops, HEADER_LENGTH + 12)
  t.type(read(reader(routeFormat, decodeRoute), bytes), DecodeError)
  t.end()
})

t.test('the error tells where', t => {
  const [first] = captured
  if (first === undefined) throw new Error('nothing captured')
  const error = read(readerOf(first.command), first.bytes.slice(0, 40))
  t.match(error, { name: 'DecodeError', message: /^netlink: .* at byte \d+$/ })
  t.end()
})
