/**
 * A link's settings of the IP protocols, those of /proc/sys/net/ipv4/conf and net/ipv6/conf that netlink has.
 * @see linux/if_link.h, IFLA_AF_SPEC; linux/ip.h, IPV4_DEVCONF_*; linux/ipv6.h, DEVCONF_*
 */

import { attributeTable, bytes, type Codec, encodeAttribute, nested, u8, u32 } from '../../codec.ts'
import { named } from '../value-codecs.ts'

const ipv4Settings = {
  forwarding: 1,
  mcForwarding: 2,
  proxyArp: 3,
  acceptRedirects: 4,
  secureRedirects: 5,
  sendRedirects: 6,
  sharedMedia: 7,
  rpFilter: 8,
  acceptSourceRoute: 9,
  bootpRelay: 10,
  logMartians: 11,
  tag: 12,
  arpFilter: 13,
  mediumId: 14,
  disableXfrm: 15,
  disablePolicy: 16,
  forceIgmpVersion: 17,
  arpAnnounce: 18,
  arpIgnore: 19,
  promoteSecondaries: 20,
  arpAccept: 21,
  arpNotify: 22,
  acceptLocal: 23,
  srcValidMark: 24,
  proxyArpPvlan: 25,
  routeLocalnet: 26,
  ignoreRoutesWithLinkdown: 29,
  dropUnicastInL2Multicast: 30,
  dropGratuitousArp: 31,
  bcForwarding: 32,
  arpEvictNocarrier: 33,
} as const

/** Values as in /proc/sys/net/ipv4/conf/<link>/. */
export type Ipv4DeviceSettings = { -readonly [K in keyof typeof ipv4Settings]?: number }

/** The kernel takes the settings as attributes, one each, and reports them as an array of 32-bit numbers. */
const ipv4Configuration: Codec<Ipv4DeviceSettings> = {
  nested: true,
  encode(writer, settings) {
    for (const [name, value] of Object.entries(settings))
      encodeAttribute(writer, ipv4Settings[name as keyof Ipv4DeviceSettings], u32 as Codec<unknown>, value, {})
  },
  decode(reader) {
    const values: number[] = []
    while (reader.remaining >= 4) values.push(reader.u32())
    const settings: Ipv4DeviceSettings = {}
    for (const [name, number] of Object.entries(ipv4Settings)) {
      const value = values[number - 1]
      if (value !== undefined) settings[name as keyof Ipv4DeviceSettings] = value
    }
    return settings
  },
}

/** How a link makes its IPv6 link-local address; `none` makes none. IN6_ADDR_GEN_MODE_* */
const addressGeneration = { eui64: 0, none: 1, stablePrivacy: 2, random: 3 } as const

const ipv6Attributes = attributeTable('IFLA_INET6', {
  flags: [1, u32],
  token: [7, bytes],
  addrGenMode: [8, named(u8, addressGeneration)],
})

/** IFLA_AF_SPEC of a message about a link of any family: one attribute per family, its number the type. */
export const protocolAttributes = attributeTable('IFLA_AF_SPEC', {
  ipv4: [2, nested(attributeTable('IFLA_INET', { conf: [1, ipv4Configuration] }))],
  ipv6: [10, nested(ipv6Attributes)],
})

/** What can be set about IPv6 over netlink; the rest is in /proc/sys alone. */
export interface Ipv6DeviceSettings {
  readonly addrGenMode?: keyof typeof addressGeneration | number | undefined
}
