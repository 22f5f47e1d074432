/** Whose element it is, as its comment says: `podnet 3f0e... eth0 4026532291`. */

import { livingNamespaces } from '../../netns/liveness.ts'
import type { Attachment } from '../attachment.ts'
import { attachmentWords, containerWord } from './layout.ts'

/** What the comments of the attachment's elements begin with. */
export function ownerPrefix(attachment: Attachment): string {
  return `${attachmentWords(attachment)} `
}

/** Whether an owner is of the attachment's container: perhaps another network or interface of it. */
export function isOfContainer(owner: Owner | undefined, { containerId }: Attachment): boolean {
  return owner?.containerId === containerWord(containerId)
}

/** @param namespace the inode number of the container's network namespace */
export function ownerComment(attachment: Attachment, namespace: bigint): string {
  return `${ownerPrefix(attachment)}${namespace}`
}

/** The parts of a comment; names that were too long are shortened. */
export interface Owner {
  readonly network: string
  readonly containerId: string
  readonly ifname: string
  readonly namespace: bigint
}

/** Undefined for elements that are not cnikit's. */
export function readOwner(comment: string | undefined): Owner | undefined {
  const words = comment?.split(' ') ?? []
  const [network, containerId, ifname, namespace] = words
  if (network === undefined || containerId === undefined || ifname === undefined || namespace === undefined) {
    return undefined
  }
  return words.length === 4 && /^[0-9]+$/.test(namespace)
    ? { network, containerId, ifname, namespace: BigInt(namespace) }
    : undefined
}

/**
 * Tells whether an owner's network namespace is gone. They are looked for once, when first needed.
 * @param asker the namespace of who asks
 */
export function deathOfOwners(asker: bigint): (namespace: bigint) => boolean {
  let living: ReadonlySet<bigint> | undefined
  let looked = false
  return namespace => {
    // The kernel gives a namespace's number to a later one: whoever asks has it now.
    if (namespace === asker) return true
    if (!looked) living = livingNamespaces()
    looked = true
    return living !== undefined && !living.has(namespace)
  }
}
