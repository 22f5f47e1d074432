/** The numbers that network namespaces have for one another. `ip netns list-id` @see linux/net_namespace.h */

import { attributeTable, i32, struct, u8, u32 } from '../codec.ts'
import { request } from '../message.ts'
import type { NetlinkSocket } from '../socket.ts'
import { RouteMessage } from './message-types.ts'

const namespaceIdFormat = {
  /** struct rtgenmsg */
  header: struct({ family: u8, padding: 3 }),
  attributes: attributeTable('NETNSA', { nsid: [1, i32], fd: [3, u32] }),
}

/**
 * The number that the socket's namespace has for another, as in `Link.parentNamespaceId`; undefined when it has none.
 * @param fd an open descriptor of the other namespace
 * @throws NetlinkError
 */
export function getNamespaceId(socket: NetlinkSocket, fd: number): number | undefined {
  const answer = socket.get(
    namespaceIdFormat,
    request(namespaceIdFormat, {
      type: RouteMessage.getNamespaceId,
      operation: 'read the number of a network namespace',
      attributes: { fd },
    }),
  )
  const id = answer?.attributes.nsid ?? NETNSA_NSID_NOT_ASSIGNED
  return id === NETNSA_NSID_NOT_ASSIGNED ? undefined : id
}

const NETNSA_NSID_NOT_ASSIGNED = -1
