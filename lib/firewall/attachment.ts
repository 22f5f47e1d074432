/** Whose firewall state it is. */

import { sha512 } from '../sys/host.ts'

/** One interface of one container in one network. */
export interface Attachment {
  readonly network: string
  readonly containerId: string
  readonly ifname: string
}

/**
 * The text, or a recognisable beginning of it and a digest where it is longer than `limit` bytes or has characters
 * other than those of CNI names. The separator occurs in no CNI name, so that no two texts give the same.
 */
export function shortened(text: string, limit: number, separator: string): string {
  if (text.length <= limit && /^[a-zA-Z0-9_.-]+$/.test(text)) return text
  const digest = sha512(text).slice(0, 32)
  return `${text.replace(/[^a-zA-Z0-9_.-]/g, '_').slice(0, limit - digest.length - separator.length)}${separator}${digest}`
}
