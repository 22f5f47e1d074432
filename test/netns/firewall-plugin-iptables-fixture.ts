/** What the tests of forwarding with iptables share. */

import { parsePrefix } from '../../lib/address/prefix.ts'
import type { Attachment } from '../../lib/firewall/attachment.ts'
import type { Ingress } from '../../lib/firewall/forwarding-intent.ts'
import { iptablesForwarding } from '../../lib/firewall/iptables/forwarding.ts'
import { type Host, programPath } from '../harness/index.ts'
import { inside } from './firewall-fixture.ts'
import { saved } from './portmap-iptables-fixture.ts'

export const options = { environment: { PATH: programPath }, adminChain: 'CNI-ADMIN', zone: 'trusted' }
const addressOf = (text: string) => {
  const parsed = parsePrefix(`${text}/${text.includes(':') ? 128 : 32}`)
  if (parsed === undefined) throw new TypeError(`not an address: ${text}`)
  return parsed.address
}
export const dual = (number: number): string[] => [`10.1.0.${number}`, `fd00:1::${number}`]
export const sameBridge = (...interfaces: string[]): Ingress => ({ policy: 'same-bridge', interfaces })
export const isolated = (...interfaces: string[]): Ingress => ({ policy: 'isolated', interfaces })

export const wanted = (addresses: readonly string[], ingress?: Ingress) => ({
  addresses: addresses.map(addressOf),
  ingress,
})
export const add = (
  host: Host,
  whose: Attachment,
  addresses: readonly string[],
  ingress?: Ingress,
  keys: object = {},
) => inside(host, () => iptablesForwarding.add(whose, wanted(addresses, ingress), { ...options, ...keys }))
export const check = (host: Host, whose: Attachment, addresses: readonly string[], ingress?: Ingress) =>
  inside(host, () => iptablesForwarding.check(whose, wanted(addresses, ingress), options))
export const remove = (host: Host, whose: Attachment, addresses?: readonly string[]) =>
  inside(host, () => iptablesForwarding.delete(whose, addresses?.map(addressOf), options))
export const gc = (host: Host, network: string, valid: readonly Attachment[]) =>
  inside(host, () => iptablesForwarding.gc(network, valid, options))

export const rulesOf = (host: Host): string => saved(host, 'filter')
