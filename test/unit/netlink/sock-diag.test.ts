/** lib/netlink/sock-diag against what ss(8) sends, and what the kernel answers: golden/sock-diag.txt. */

import fc from 'fast-check'
import t from 'tap'
import { formatAddress } from '../../../lib/address/address.ts'
import { decodeAnswer, messagesOf, NLM_F } from '../../../lib/netlink/message.ts'
import {
  type BoundSocket,
  boundSocketsRequest,
  decodeBoundSocket,
  type Transport,
} from '../../../lib/netlink/sock-diag/bound-socket.ts'
import { socketFormat } from '../../../lib/netlink/sock-diag/message.ts'
import { encodePortFilter, portRanges } from '../../../lib/netlink/sock-diag/port-filter.ts'
import { ByteWriter, DecodeError } from '../../../lib/netlink/wire.ts'
import { allocate } from '../../../lib/sys/bytes.ts'
import { address } from '../../netns/netlink-fixture.ts'
import { encoded, readGolden } from './golden.ts'

const golden = readGolden('sock-diag')

function captured(command: string): Uint8Array<ArrayBuffer> {
  const [bytes] = golden.get(command) ?? []
  if (bytes === undefined) throw new Error(`not captured: ${command}`)
  return bytes.slice()
}

/** As sent by us: the socket adds the flag of dumps, and ss counts from 123456. */
function asSent(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer)
  view.setUint16(6, view.getUint16(6, true) & ~NLM_F.DUMP, true)
  view.setUint32(8, 1, true)
  return bytes
}

t.test('requests have the bytes of those that ss sends', t => {
  const filter = (...ports: number[]) => encodePortFilter(portRanges(ports))
  const everyPort = encodePortFilter([{ from: 1, to: 65535 }])
  const requests = {
    "ss -4 -nt state listening '( sport >= :80 and sport <= :81 ) or ( sport >= :443 and sport <= :443 )'":
      boundSocketsRequest('tcp', 4, filter(443, 81, 80)),
    "ss -6 -nu state unconnected 'sport >= :53 and sport <= :53'": boundSocketsRequest('udp', 6, filter(53)),
    "ss -4 -nS state listening 'sport >= :1 and sport <= :65535'": boundSocketsRequest('sctp', 4, everyPort),
  }
  for (const [command, request] of Object.entries(requests))
    t.same(encoded(request), asSent(captured(command)), command)
  t.end()
})

const decodeAll = (transport: Transport, datagram: Uint8Array<ArrayBuffer>): BoundSocket[] =>
  messagesOf(datagram).flatMap(message => decodeBoundSocket(transport, decodeAnswer(socketFormat, message)))

t.test('answers are read as ss reads them', t => {
  const read = (transport: Transport, command: string) =>
    decodeAll(transport, captured(command)).map(socket => ({ ...socket, address: formatAddress(socket.address) }))
  const tcp = { transport: 'tcp', uid: 0, v6Only: false, cgroupId: 1n }
  t.strictSame(read('tcp', 'ss -4 -nt state listening'), [{ ...tcp, port: 9001, address: '127.0.0.1', inode: 3734551 }])
  t.strictSame(read('tcp', 'ss -6 -nt state listening'), [
    { ...tcp, port: 8099, address: '::', inode: 3734549 },
    { ...tcp, port: 9000, address: '::', inode: 3734550, v6Only: true },
  ])
  const udp = { ...tcp, transport: 'udp' }
  t.strictSame(read('udp', 'ss -4 -nu state unconnected'), [
    { ...udp, port: 5353, address: '0.0.0.0', inode: 3734552, index: 1 },
  ])
  t.strictSame(
    read('udp', 'ss -6 -nu state unconnected'),
    [{ ...udp, port: 5354, address: '127.0.0.1', inode: 3734553 }],
    'an IPv4-mapped address is the IPv4 address',
  )
  t.end()
})

t.test('an SCTP socket is there with each of its addresses', t => {
  // INET_DIAG_LOCALS: struct sockaddr_in and sockaddr_in6, each in a struct sockaddr_storage of 128 bytes.
  const locals = allocate(256)
  locals.set([2, 0, 0x0f, 0xa0, 192, 0, 2, 5])
  locals.set([10, 0, 0x0f, 0xa0, 0, 0, 0, 0, ...address('2001:db8::5')], 128)
  const header = { family: 10, state: 10, sourcePort: 4000, inode: 7, source: allocate(16), destination: allocate(16) }
  const found = decodeBoundSocket('sctp', { type: 20, header, attributes: { locals } })
  t.same(
    found.map(one => [formatAddress(one.address), one.port, one.inode]),
    [
      ['192.0.2.5', 4000, 7],
      ['2001:db8::5', 4000, 7],
    ],
  )
  t.end()
})

t.test('ports become ranges, neighbours one', t => {
  t.same(portRanges([443, 81, 80, 80, 82, 1]), [
    { from: 1, to: 1 },
    { from: 80, to: 82 },
    { from: 443, to: 443 },
  ])
  t.same(portRanges([]), [])
  t.throws(() => encodePortFilter([]), RangeError)
  t.end()
})

/**
 * inet_diag_bc_run() of net/ipv4/inet_diag.c for the operations used here, and the jump checks of inet_diag_bc_audit():
 * a socket passes when the program is left exactly at its end.
 */
function passes(program: Uint8Array, port: number): boolean {
  const view = new DataView(program.buffer, program.byteOffset, program.length)
  let at = 0
  while (at < program.length) {
    const [code, yes, no] = [view.getUint8(at), view.getUint8(at + 1), view.getUint16(at + 2, true)]
    const holds =
      code === 2 ? port >= view.getUint16(at + 6, true) : code === 3 ? port <= view.getUint16(at + 6, true) : false
    if (code < 1 || code > 3 || no > program.length - at + 4) throw new Error(`operation ${code} ${yes} ${no} at ${at}`)
    at += holds ? yes : no
  }
  return at === program.length
}

t.test('the filter lets exactly the ports pass that are asked for', t => {
  const port = fc.integer({ min: 1, max: 65535 })
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(port, { minLength: 1, maxLength: 60 }), port, (ports, other) => {
        const program = encodePortFilter(portRanges(ports))
        for (const one of [...ports, other, ...ports.map(near => near + 1)])
          if (passes(program, one) !== ports.includes(one)) throw new Error(`port ${one}`)
      }),
    ),
  )
  t.end()
})

t.test('of very many ports the filter lets pass all between the first and the last', t => {
  const ports = Array.from({ length: 30_000 }, (_, index) => 1000 + index * 2)
  const program = encodePortFilter(portRanges(ports))
  t.equal(program.length, 16)
  for (const [one, expected] of [
    [999, false],
    [1000, true],
    [1001, true],
    [60_998, true],
    [60_999, false],
  ] as const)
    t.equal(passes(program, one), expected, String(one))
  t.end()
})

t.test('an answer that is cut or damaged is read or refused', t => {
  const answer = captured('ss -6 -nt state listening')
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.nat(answer.length),
        fc.array(fc.tuple(fc.nat(answer.length - 1), fc.integer({ min: 0, max: 255 }))),
        (length, changes) => {
          const writer = new ByteWriter()
          writer.bytes(answer)
          const damaged = writer.finish().slice(0, length)
          for (const [position, value] of changes) if (position < length) damaged[position] = value
          try {
            decodeAll('tcp', damaged)
          } catch (error) {
            if (!(error instanceof DecodeError)) throw error
          }
        },
      ),
      { numRuns: 2000 },
    ),
  )
  t.end()
})
