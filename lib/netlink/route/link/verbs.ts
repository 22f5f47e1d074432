/** `ip link`: requests sent and answered at once. */

import { Errno } from '../../../sys/errno.ts'
import { request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { RouteMessage } from '../message-types.ts'
import { decodeLink, type Link } from './link.ts'
import { ExtendedMask, linkFormat } from './message.ts'
import {
  addLinkRequest,
  deleteLinkRequest,
  describeTarget,
  type LinkTarget,
  setLinkRequest,
  targetOf,
} from './requests.ts'
import type { NewLink } from './settings.ts'

/** @throws NetlinkError, EEXIST when the name is taken, EOPNOTSUPP when the kernel does not know the kind */
export function addLink(socket: NetlinkSocket, link: NewLink): void {
  socket.execute(addLinkRequest(link))
}

/** @throws NetlinkError, ENODEV when there is no such link */
export function setLink(socket: NetlinkSocket, changes: Parameters<typeof setLinkRequest>[0]): void {
  socket.execute(setLinkRequest(changes))
}

/**
 * @param options.missing "ignore" to accept that there is no such link
 * @returns whether there was one
 * @throws NetlinkError
 */
export function deleteLink(
  socket: NetlinkSocket,
  target: LinkTarget | { readonly group: number },
  options: { missing?: 'ignore' } = {},
): boolean {
  const [failure] = socket.tryAll([deleteLinkRequest(target)])
  if (failure === undefined) return true
  if (options.missing === 'ignore' && failure.errno === Errno.ENODEV) return false
  throw failure
}

/** Above the numbers that people give to groups. */
const TEMPORARY_GROUPS = 0x4000_0000

/**
 * Deletes links together, which takes little longer than deleting one: the kernel waits once and not for each. The links
 * are put into a group of their own first; those that are gone already are passed over.
 * @throws NetlinkError
 */
export function deleteLinks(socket: NetlinkSocket, links: readonly { readonly index: number }[]): void {
  const [first] = links
  if (first === undefined) return
  if (links.length === 1) {
    deleteLink(socket, { index: first.index }, { missing: 'ignore' })
    return
  }
  const group = TEMPORARY_GROUPS + Math.floor(Math.random() * TEMPORARY_GROUPS)
  const expected = [Errno.ENODEV]
  socket.executeAll(
    links.map(({ index }) => setLinkRequest({ index, group })),
    { expected },
  )
  socket.executeAll([deleteLinkRequest({ group })], { expected })
}

/** The link, or undefined. A name may also be an alternative name. @throws NetlinkError */
export function getLink(socket: NetlinkSocket, target: LinkTarget): Link | undefined {
  const { header, attributes } = targetOf(target)
  const answer = socket.get(
    linkFormat,
    request(linkFormat, {
      type: RouteMessage.getLink,
      operation: `read ${describeTarget(target)}`,
      header,
      attributes: { ...attributes, extMask: ExtendedMask.skipStatistics },
    }),
  )
  return answer && decodeLink(answer)
}

/** Which links; all of them when empty. */
export interface LinkFilter {
  readonly kind?: string | undefined
  /** Index of the bridge whose ports are wanted. */
  readonly master?: number | undefined
}

/** The links of the socket's namespace, ordered by index. @throws NetlinkError */
export function listLinks(socket: NetlinkSocket, filter: LinkFilter = {}): Link[] {
  const links = socket.dump(
    linkFormat,
    request(linkFormat, {
      type: RouteMessage.getLink,
      operation: 'list links',
      attributes: {
        master: filter.master,
        linkinfo: filter.kind === undefined ? undefined : { kind: filter.kind },
        extMask: ExtendedMask.skipStatistics,
      },
    }),
  )
  // The kernel drops a filter by a kind that it does not know.
  return links.map(decodeLink).filter(link => filter.kind === undefined || link.kind === filter.kind)
}
