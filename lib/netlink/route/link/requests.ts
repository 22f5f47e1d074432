/** `ip link`: what is asked of the kernel. Requests can be collected and sent together. */

import { NLM_F, type Request, request } from '../../message.ts'
import { RouteMessage } from '../message-types.ts'
import { linkFormat } from './message.ts'
import { commonAttributes, flagsOf, type LinkChanges, linkInfoOf, type NewLink } from './settings.ts'

/** Which link: by its index, or by a name. */
export type LinkTarget =
  | { readonly index: number; readonly name?: undefined }
  | { readonly name: string; readonly index?: undefined }

/** Names of the ordinary kind have 15 bytes at most (IFNAMSIZ); longer ones are alternative names. */
const NAME_LENGTH = 15

/** `link "eth0"` or `link 7`. */
export function describeTarget(target: { index?: number | undefined; name?: string | undefined }): string {
  return target.index === undefined ? `link ${JSON.stringify(target.name)}` : `link ${target.index}`
}

/** Header and attributes that name the link. */
export function targetOf(target: LinkTarget) {
  if (target.index !== undefined) return { header: { index: target.index }, attributes: {} }
  return {
    header: {},
    attributes: target.name.length > NAME_LENGTH ? { altIfname: target.name } : { ifname: target.name },
  }
}

/** `ip link add`. The name must be free. */
export function addLinkRequest(link: NewLink): Request {
  return request(linkFormat, {
    type: RouteMessage.newLink,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    operation: `create link ${JSON.stringify(link.name)} of kind "${link.kind}"`,
    header: { ...flagsOf(link), index: link.index ?? 0 },
    attributes: {
      ...commonAttributes(link),
      master: link.master,
      link: link.parent,
      linkNetnsid: link.parentNamespaceId,
      numTxQueues: link.numTxQueues,
      numRxQueues: link.numRxQueues,
      linkinfo: linkInfoOf(link),
    },
  })
}

/** `ip link set`. With an index, `name` is the link's new name; without one, it says which link. */
export function setLinkRequest(
  changes: LinkChanges & ({ readonly index: number } | { readonly name: string }),
): Request {
  const { ipv4Conf, ipv6Conf } = changes
  if (changes.up && (ipv4Conf !== undefined || ipv6Conf !== undefined))
    throw new TypeError('the kernel brings a link up before it applies ipv4Conf and ipv6Conf: use two requests')
  const target = 'index' in changes ? { index: changes.index } : { name: changes.name }
  const { header, attributes } = targetOf(target)
  return request(linkFormat, {
    // RTM_SETLINK would ignore the settings of the kind and of a bridge port.
    type: RouteMessage.newLink,
    operation: `change ${describeTarget(target)}`,
    header: { ...flagsOf(changes), ...header },
    attributes: {
      ...commonAttributes('index' in changes ? changes : { ...changes, name: undefined }),
      ...attributes,
      master: changes.master,
      ifalias: changes.alias,
      linkinfo: linkInfoOf(changes),
      ...(ipv4Conf || ipv6Conf ? { afSpec: { ipv4: ipv4Conf && { conf: ipv4Conf }, ipv6: ipv6Conf } } : {}),
    },
  })
}

/** `ip link delete`, or `ip link delete group` for all links of a group, however many, at the cost of one. */
export function deleteLinkRequest(target: LinkTarget | { readonly group: number }): Request {
  if ('group' in target) {
    return request(linkFormat, {
      type: RouteMessage.deleteLink,
      operation: `delete links of group ${target.group}`,
      attributes: { group: target.group },
    })
  }
  return request(linkFormat, {
    type: RouteMessage.deleteLink,
    operation: `delete ${describeTarget(target)}`,
    ...targetOf(target),
  })
}

function alternativeNamesRequest(type: number, verb: string, index: number, names: readonly string[]): Request {
  return request(linkFormat, {
    type,
    flags: type === RouteMessage.newLinkProperty ? NLM_F.CREATE | NLM_F.EXCL | NLM_F.APPEND : 0,
    operation: `${verb} alternative names ${names.join(', ')} of link ${index}`,
    header: { index },
    attributes: { propList: [...names] },
  })
}

/** `ip link property add dev ... altname ...` */
export function addAlternativeNamesRequest(index: number, names: readonly string[]): Request {
  return alternativeNamesRequest(RouteMessage.newLinkProperty, 'add', index, names)
}

/** `ip link property del dev ... altname ...` */
export function deleteAlternativeNamesRequest(index: number, names: readonly string[]): Request {
  return alternativeNamesRequest(RouteMessage.deleteLinkProperty, 'delete', index, names)
}
