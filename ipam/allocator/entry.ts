/** What an address file says. */

import { sha512 } from '../../lib/sys/host.ts'

/** Who holds an address. */
export interface Owner {
  readonly containerId: string
  /** Undefined in files written by old versions of the Go plugin, which stand for every interface. */
  readonly ifname: string | undefined
}

/** The content of an address file: two lines, the last without an end. */
export function encodeOwner(containerId: string, ifname: string): string {
  return `${containerId}\r\n${ifname}`
}

/**
 * Reads an address file's content; undefined for one that was not written whole. That is an empty file, or one filled with NUL
 * bytes after a power failure: no length of a whole content is without a container id.
 */
export function decodeOwner(content: string): Owner | undefined {
  const text = content.trim()
  if (text === '' || text.includes('\0')) return undefined
  const [containerId = '', ifname] = text.split('\r\n')
  return { containerId, ifname }
}

/** Whether an attachment owns what such an owner holds. */
export function ownedBy(owner: Owner, containerId: string, ifname: string): boolean {
  return owner.containerId === containerId && (owner.ifname === undefined || owner.ifname === ifname)
}

/** Four words of a container id's digest, by which its addresses are found. */
export function containerKey(containerId: string): readonly [number, number, number, number] {
  const digest = sha512(containerId)
  const word = (index: number) => Number.parseInt(digest.slice(index * 8, index * 8 + 8), 16)
  return [word(0), word(1), word(2), word(3)]
}
