/**
 * Ingress policies: each network says what it wants of which interfaces, and the sets that the rules look into follow
 * from what all of them say. Of two networks that want different things of one interface, "isolated" is obeyed.
 */

import type { Request } from '../../netlink/message.ts'
import {
  createElements,
  deleteElements,
  elementFormat,
  elementsOf,
  getElement,
  type SetElement,
} from '../../netlink/netfilter/element.ts'
import type { SetName } from '../../netlink/netfilter/set.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Ingress } from '../forwarding-intent.ts'
import {
  firewallTable,
  INGRESS_SETS,
  ingressInterfaces,
  ingressSet,
  ingressWithin,
  interfaceKey,
  policyOf,
  withinKey,
} from './forwarding-objects.ts'
import { createIngressSet, missingStructure } from './forwarding-structure.ts'
import { elementsOfSet, setNames } from './ruleset.ts'
import { applyPlanned } from './transaction.ts'

const textOf = (key: Uint8Array): string => String.fromCharCode(...key)

/** The network's elements. */
function wishes({ policy, interfaces }: Ingress): (SetElement & { readonly comment: string })[] {
  return interfaces.map(name => ({ key: interfaceKey(name), comment: policy }))
}

/** Whether the set says it already: what all ADDs but the first of a network find. */
function isSaid(socket: NetlinkSocket, set: SetName, wished: readonly SetElement[]): boolean {
  const answers = socket.getAll(
    elementFormat,
    wished.map(({ key }) => getElement(set, key)),
  )
  return wished.every((wish, index) => {
    const answer = answers[index]
    return answer !== undefined && elementsOf(answer)[0]?.comment === wish.comment
  })
}

/** Makes the network want this of its interfaces, besides what it wants already. Nothing is sent where nothing changes. */
export function addIngress(socket: NetlinkSocket, network: string, ingress: Ingress): void {
  const set = ingressSet(network)
  if (isSaid(socket, set, wishes(ingress))) return
  applyPlanned(socket, 'ingress policy', () => {
    const names = setNames(socket, firewallTable)
    const own = names.includes(set.set)
    const present = own ? elementsOfSet(socket, set) : []
    const changes: Request[] = names.includes(ingressInterfaces.set) && own ? [] : [...missingStructure(socket)]
    if (!own) changes.push(createIngressSet(set))
    const wanted = new Map(present.map(element => [textOf(element.key), element]))
    for (const wish of wishes(ingress)) {
      const there = wanted.get(textOf(wish.key))
      if (there?.comment === wish.comment) continue
      if (there !== undefined) changes.push(deleteElements(set, [{ key: there.key }]))
      changes.push(createElements(set, [wish], { exclusive: true }))
      wanted.set(textOf(wish.key), wish)
    }
    return [...changes, ...sharedChanges(socket, names, new Map([[set.set, [...wanted.values()]]]))]
  })
}

/**
 * What is to be changed of the two sets of all networks.
 * @param names of all sets of the table
 * @param instead what these networks' sets are going to hold, by their names
 */
export function sharedChanges(
  socket: NetlinkSocket,
  names: readonly string[],
  instead: ReadonlyMap<string, readonly SetElement[]>,
): Request[] {
  const interfaces = new Map<string, Uint8Array>()
  const isolated = new Set<string>()
  const networks = new Set([...names.filter(name => name.startsWith(INGRESS_SETS)), ...instead.keys()])
  for (const name of networks) {
    for (const element of instead.get(name) ?? elementsOfSet(socket, { ...firewallTable, set: name })) {
      const policy = policyOf(element)
      if (policy === undefined) continue
      interfaces.set(textOf(element.key), element.key)
      if (policy === 'isolated') isolated.add(textOf(element.key))
    }
  }
  const within = [...interfaces].filter(([name]) => !isolated.has(name)).map(([, key]) => withinKey(key))
  const present = (set: SetName) => (names.includes(set.set) ? elementsOfSet(socket, set) : [])
  return [
    ...difference(ingressInterfaces, present(ingressInterfaces), [...interfaces.values()]),
    ...difference(ingressWithin, present(ingressWithin), within),
  ]
}

function difference(set: SetName, present: readonly SetElement[], wanted: readonly Uint8Array[]): Request[] {
  const there = new Set(present.map(({ key }) => textOf(key)))
  const wantedTexts = new Set(wanted.map(textOf))
  const removed = present.filter(({ key }) => !wantedTexts.has(textOf(key)))
  const added = wanted.filter(key => !there.has(textOf(key)))
  return [
    ...(removed.length === 0 ? [] : [deleteElements(set, removed)]),
    ...(added.length === 0
      ? []
      : [
          createElements(
            set,
            added.map(key => ({ key })),
          ),
        ]),
  ]
}

/** Why the policy is not in force, in words; undefined when it is. */
export function ingressFault(socket: NetlinkSocket, network: string, ingress: Ingress): string | undefined {
  const names = setNames(socket, firewallTable)
  const set = ingressSet(network)
  const present = names.includes(set.set) ? elementsOfSet(socket, set) : []
  for (const [index, wish] of wishes(ingress).entries()) {
    const there = present.find(({ key }) => textOf(key) === textOf(wish.key))
    if (there?.comment === wish.comment) continue
    return `set "${set.set}" does not say "${wish.comment}" of "${ingress.interfaces[index]}"`
  }
  return sharedChanges(socket, names, new Map()).length === 0
    ? undefined
    : `sets "${ingressInterfaces.set}" and "${ingressWithin.set}" are not what the sets of the networks say`
}
