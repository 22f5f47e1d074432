/** The world behind the host: what masquerading is for. It has no route to any container. */

import type { Host } from './host.ts'
import type { NetworkNamespace } from './namespace.ts'

/** The host's addresses towards the outside, and those of the outside itself. */
export const outsideAddresses = {
  host: { ipv4: '198.51.100.1', ipv6: '2001:db8:51::1' },
  outside: { ipv4: '198.51.100.2', ipv6: '2001:db8:51::2' },
} as const

/**
 * Makes a namespace behind the host, linked by the veth "uplink" (in the host) and "world" (outside). It answers at once:
 * link-local addresses, from which routers ask for neighbours, are not tentative, and the kernel, which notices a
 * carrier up to a second later, is made to notice it by being asked for the links.
 */
export function createOutside(host: Host): NetworkNamespace {
  const outside = host.createNamespace('outside')
  const { host: ours, outside: theirs } = outsideAddresses
  host.ip(`
link add uplink type veth peer name world netns ${outside.name}
addr add ${ours.ipv4}/24 dev uplink
link set uplink addrgenmode none
addr add ${ours.ipv6}/64 dev uplink nodad
addr add fe80::1/64 dev uplink nodad
link set uplink up
route add default via ${theirs.ipv4}
route add ::/0 via ${theirs.ipv6}`)
  outside.ip(`
link set lo up
addr add ${theirs.ipv4}/24 dev world
link set world addrgenmode none
addr add ${theirs.ipv6}/64 dev world nodad
addr add fe80::2/64 dev world nodad
link set world up
link show dev world`)
  host.ip('link show dev uplink')
  return outside
}
