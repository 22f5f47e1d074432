/**
 * A filter by local ports that the kernel runs for every socket of a dump, so that a host with a hundred thousand of them
 * answers with the few that are asked for. It is a program of conditional jumps forward; a socket passes when the end is
 * reached exactly, and fails 4 bytes beyond it. @see linux/inet_diag.h, struct inet_diag_bc_op
 */

import { ByteWriter } from '../wire.ts'

/** Ports, both ends included. */
export interface PortRange {
  readonly from: number
  readonly to: number
}

/** INET_DIAG_BC_* */
const Operation = { jump: 1, portAtLeast: 2, portAtMost: 3 } as const

/** sizeof(struct inet_diag_bc_op) */
const OPERATION_BYTES = 4
/** A comparison is followed by the port, in the place of a second operation's `no`. */
const COMPARISON_BYTES = 2 * OPERATION_BYTES
/** Two comparisons, and the jump to the end when both hold. */
const RANGE_BYTES = 2 * COMPARISON_BYTES + OPERATION_BYTES

/** A jump and a program are 16 bits long at most; every range costs time for every socket. */
const RANGES_MAX = 256

/** The ports in order and without gaps between them where they are neighbours. */
export function portRanges(ports: readonly number[]): PortRange[] {
  const ranges: { from: number; to: number }[] = []
  for (const port of [...ports].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && port <= last.to + 1) last.to = port
    else ranges.push({ from: port, to: port })
  }
  return ranges
}

/**
 * What `ss 'sport >= :from and sport <= :to or ...'` sends. Of more ranges than are good for the kernel it lets pass all
 * from the first to the last port: whoever asks compares once more.
 * @param ranges not empty, in order @see portRanges
 */
export function encodePortFilter(ranges: readonly PortRange[]): Uint8Array<ArrayBuffer> {
  const [first, last] = [ranges[0], ranges.at(-1)]
  if (first === undefined || last === undefined) throw new RangeError('a filter by ports needs a port')
  const tested = ranges.length > RANGES_MAX ? [{ from: first.from, to: last.to }] : ranges
  const writer = new ByteWriter()
  let rest = tested.length * RANGE_BYTES - OPERATION_BYTES
  for (const { from, to } of tested) {
    // Where a comparison does not hold, the next range is tried; after the last that place is the one beyond the end.
    comparison(writer, Operation.portAtLeast, from, RANGE_BYTES)
    comparison(writer, Operation.portAtMost, to, RANGE_BYTES - COMPARISON_BYTES)
    rest -= 2 * COMPARISON_BYTES
    if (rest > 0) operation(writer, Operation.jump, OPERATION_BYTES, rest)
    rest -= OPERATION_BYTES
  }
  return writer.finish().slice()
}

/** @param no how far to go when it does not hold, in bytes from its beginning */
function comparison(writer: ByteWriter, code: number, port: number, no: number): void {
  operation(writer, code, COMPARISON_BYTES, no)
  operation(writer, 0, 0, port)
}

function operation(writer: ByteWriter, code: number, yes: number, no: number): void {
  writer.u8(code)
  writer.u8(yes)
  writer.u16(no)
}
