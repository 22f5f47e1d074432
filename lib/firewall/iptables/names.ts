/** The Go plugins' names in the nat table, so that either side cleans up after the other. */

import { sha512 } from '../../sys/host.ts'

/** XT_MAX_COMMENT_LEN, without the final NUL. */
const COMMENT_LIMIT = 255

/** The chain of a container in a network. All of the container's attachments to the network share it. */
export function chainName(network: string, containerId: string): string {
  return `CNI-${sha512(network + containerId)}`.slice(0, 28)
}

/** Whether it may be such a chain. */
export function isChainName(name: string): boolean {
  return /^CNI-[0-9a-f]{24}$/.test(name)
}

/** The comment of every rule of the container. */
export function ruleComment(network: string, containerId: string): string {
  return `name: ${JSON.stringify(network)} id: ${JSON.stringify(containerId)}`.slice(0, COMMENT_LIMIT)
}

/** Whose rule it is, by its comment; undefined for a comment of another kind. */
export function ownerInComment(comment: string): { network: string; containerId: string } | undefined {
  const match = /^name: "([^"\\]*)" id: "([^"\\]*)"$/.exec(comment)
  return match === null ? undefined : { network: match[1] ?? '', containerId: match[2] ?? '' }
}

/** The chain of a container's published ports in a network. All of its attachments to the network share it. */
export function portForwardingChain(network: string, containerId: string): string {
  return `CNI-DN-${sha512(network + containerId)}`.slice(0, 28)
}

/** The comment of the rules that lead to it, in which names are not quoted as above. */
export function portForwardingComment(network: string, containerId: string): string {
  return `dnat name: "${network}" id: "${containerId}"`.slice(0, COMMENT_LIMIT)
}

/** Whose rule it is, by such a comment; undefined for one of another kind. */
export function ownerInPortForwardingComment(comment: string): { network: string; containerId: string } | undefined {
  return comment.startsWith('dnat ') ? ownerInComment(comment.slice('dnat '.length)) : undefined
}
