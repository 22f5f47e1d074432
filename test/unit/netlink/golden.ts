/** Messages captured from iproute2 and the kernel: see the heads of the files in golden/. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeRequest, messagesOf, type ReceivedMessage, type Request } from '../../../lib/netlink/message.ts'
import { ByteWriter } from '../../../lib/netlink/wire.ts'
import { allocate } from '../../../lib/sys/bytes.ts'
import { repositoryRoot } from '../../harness/index.ts'

function fromHex(text: string): Uint8Array<ArrayBuffer> {
  const bytes = allocate(text.length / 2)
  for (let index = 0; index < bytes.length; index++)
    bytes[index] = Number.parseInt(text.slice(index * 2, index * 2 + 2), 16)
  return bytes
}

/** The messages of a file, by the command that they belong to. */
export function readGolden(name: 'requests' | 'replies' | 'sock-diag'): Map<string, Uint8Array<ArrayBuffer>[]> {
  const found = new Map<string, Uint8Array<ArrayBuffer>[]>()
  let current: Uint8Array<ArrayBuffer>[] = []
  for (const line of readFileSync(join(repositoryRoot, 'test/unit/netlink/golden', `${name}.txt`), 'utf8').split(
    '\n',
  )) {
    if (/^# (ip|bridge|ss) /.test(line)) {
      current = []
      found.set(line.slice(2), current)
    } else if (line !== '' && !line.startsWith('#')) {
      current.push(fromHex(line))
    }
  }
  return found
}

/** The only message of a datagram. */
export function onlyMessage(datagram: Uint8Array<ArrayBuffer>): ReceivedMessage {
  const [message, ...others] = messagesOf(datagram)
  if (message === undefined || others.length > 0) throw new Error(`${others.length + 1} messages`)
  return message
}

/** A request as it would be sent. */
export function encoded(request: Request): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter()
  encodeRequest(writer, request, 1)
  return writer.finish().slice()
}
