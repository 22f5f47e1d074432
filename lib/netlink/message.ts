/** Netlink messages: header, flags, requests and their answers. @see linux/netlink.h */

import { type AttributeTable, type Codec, decodeAttributes, encodeAttributes, type Values } from './codec.ts'
import { ByteReader, type ByteWriter, DecodeError } from './wire.ts'

export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  /** The kernel's notification of the change is sent to the one who asked, too. */
  ECHO: 0x8,
  DUMP_INTR: 0x10,
  /** On GET requests. */
  ROOT: 0x100,
  MATCH: 0x200,
  DUMP: 0x300,
  /** On NEW requests. */
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  /** On DELETE requests. */
  NONREC: 0x100,
  /** On acknowledgements. */
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const

export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3

/** sizeof(struct nlmsghdr) */
export const HEADER_LENGTH = 16

/** The shape that a group of message types shares: a fixed structure and a table of attributes. */
export interface MessageFormat<H, T> {
  readonly header: Codec<H>
  readonly attributes: T
}

type AnyTable = AttributeTable<Readonly<Record<string, readonly [number, Codec<never> | Codec<unknown>]>>>

/** A message to be sent, written out only when it is sent. Made by {@link request}. */
export interface Request {
  /** RTM_NEWLINK, ... */
  readonly type: number
  /** NLM_F_REQUEST is added. */
  readonly flags: number
  /** What is asked, with its object, for errors and traces: `create link "cni0"`. */
  readonly operation: string
  encodePayload(writer: ByteWriter): void
}

export function request<H, T extends AnyTable>(
  format: MessageFormat<H, T>,
  message: { type: number; flags?: number; operation: string; header?: H; attributes?: Values<T> },
): Request {
  return {
    type: message.type,
    flags: message.flags ?? 0,
    operation: message.operation,
    encodePayload(writer) {
      format.header.encode(writer, message.header ?? ({} as H), {})
      if (message.attributes !== undefined) encodeAttributes(writer, format.attributes, message.attributes as never)
    },
  }
}

export function encodeRequest(writer: ByteWriter, message: Request, sequence: number): void {
  const start = writer.length
  writer.u32(0)
  writer.u16(message.type)
  writer.u16(message.flags | NLM_F.REQUEST)
  writer.u32(sequence)
  writer.u32(0)
  message.encodePayload(writer)
  writer.patchU32(start, writer.length - start)
  writer.align(4)
}

/** A message that was received; `payload` is valid until the next receive. */
export interface ReceivedMessage {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  readonly payload: ByteReader
}

/** Splits a datagram into its messages. */
export function messagesOf(datagram: Uint8Array<ArrayBuffer>): ReceivedMessage[] {
  const messages: ReceivedMessage[] = []
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength)
  const reader = new ByteReader(view, 0, datagram.length)
  while (reader.remaining >= HEADER_LENGTH) {
    const length = reader.u32()
    const type = reader.u16()
    const flags = reader.u16()
    const sequence = reader.u32()
    reader.u32()
    if (length < HEADER_LENGTH)
      throw new DecodeError(`message of type ${type} has length ${length}`, reader.offset - HEADER_LENGTH)
    messages.push({ type, flags, sequence, payload: reader.slice(length - HEADER_LENGTH) })
    reader.align(4)
  }
  return messages
}

/** A decoded answer. */
export interface Answer<H, T> {
  /** RTM_NEWLINK, ... */
  readonly type: number
  readonly header: H
  readonly attributes: Values<T>
}

export function decodeAnswer<H, T extends AnyTable>(
  format: MessageFormat<H, T>,
  message: ReceivedMessage,
): Answer<H, T> {
  return {
    type: message.type,
    header: format.header.decode(message.payload, {}),
    attributes: decodeAttributes(message.payload, format.attributes) as Values<T>,
  }
}
