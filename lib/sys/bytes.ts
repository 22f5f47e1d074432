/** Buffers that may be handed to libc. */

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/**
 * A zeroed buffer whose bytes never move. `new Uint8Array(n)` is not enough: Bun keeps up to 1,000 bytes inside the
 * object and moves them out when `.buffer` or a DataView first touches it, so that a pointer taken before goes stale.
 */
export function allocate(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length))
}

/** The text as UTF-8 with a final NUL, for libc. @throws TypeError when the text itself holds a NUL. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes('\0')) throw new TypeError(`text holds a NUL character: ${JSON.stringify(text)}`)
  const bytes = allocate(text.length * 3 + 1)
  encoder.encodeInto(text, bytes)
  return bytes
}

/** UTF-8 bytes in a buffer of their own. */
export function encodeText(text: string): Uint8Array<ArrayBuffer> {
  const bytes = allocate(text.length * 3)
  return bytes.subarray(0, encoder.encodeInto(text, bytes).written)
}

export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}
