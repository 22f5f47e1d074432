/** A rule as the kernel reports it. @see linux/fib_rules.h */

import type { Family, IpAddress } from '../../../address/address.ts'
import type { Prefix } from '../../../address/prefix.ts'
import { attributeTable, string, struct, u8, u16, u32, u64be } from '../../codec.ts'
import type { Answer } from '../../message.ts'
import { familyFromNumber } from '../family.ts'
import { present } from '../present.ts'
import { ipAddress, nameOf } from '../value-codecs.ts'

const portRange = struct({ first: u16, last: u16 })

export const ruleFormat = {
  /** struct fib_rule_hdr */
  header: struct({
    family: u8,
    destinationLength: u8,
    sourceLength: u8,
    tos: u8,
    /** The table's number when it is below 256; FRA_TABLE has it in any case. */
    table: u8,
    reserved: 2,
    action: u8,
    flags: u32,
  }),
  attributes: attributeTable('FRA', {
    dst: [1, ipAddress],
    src: [2, ipAddress],
    iifname: [3, string],
    goto: [4, u32],
    priority: [6, u32],
    fwmark: [10, u32],
    flow: [11, u32],
    tunId: [12, u64be],
    suppressIfgroup: [13, u32],
    suppressPrefixlen: [14, u32],
    table: [15, u32],
    fwmask: [16, u32],
    oifname: [17, string],
    l3mdev: [19, u8],
    uidRange: [20, struct({ first: u32, last: u32 })],
    protocol: [21, u8],
    ipProto: [22, u8],
    sportRange: [23, portRange],
    dportRange: [24, portRange],
  }),
}

/** What a rule does with packets that match. FR_ACT_* */
export const ruleActions = {
  lookup: 1,
  goto: 2,
  nop: 3,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const
export type RuleAction = keyof typeof ruleActions

/** FIB_RULE_INVERT */
export const INVERT = 2

/** Both ends belong to it. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

/** What a packet must be like; what is left out may be anything. */
export interface RuleSelector {
  readonly source?: Prefix | undefined
  readonly destination?: Prefix | undefined
  /** Name of the link by which it came in. */
  readonly incomingInterface?: string | undefined
  /** Name of the link to which a socket is bound. */
  readonly outgoingInterface?: string | undefined
  readonly mark?: number | undefined
  /** Bits of the mark that count; default all. */
  readonly mask?: number | undefined
  readonly tos?: number | undefined
  /** IPPROTO_* */
  readonly ipProtocol?: number | undefined
  readonly sourcePorts?: PortRange | undefined
  readonly destinationPorts?: PortRange | undefined
  /** Users of the sockets. */
  readonly users?: PortRange | undefined
  /** The rule is for packets that do not match. */
  readonly invert?: boolean | undefined
}

export interface Rule extends RuleSelector {
  readonly family: Family
  /** Rules are asked in ascending order. */
  readonly priority: number
  readonly action: RuleAction | number
  /** With the action "lookup". */
  readonly table: number
  /** With the action "goto": the priority to go on at. */
  readonly goto?: number
  /** The table's answer does not count when its prefix is this long or shorter. */
  readonly suppressPrefixLength?: number
  readonly suppressGroup?: number
  /** The table is that of the VRF of the packet's link. */
  readonly l3mdev: boolean
  /** RTPROT_* of who made it. */
  readonly protocol?: number
}

type RuleAnswer = Answer<
  {
    family?: number
    destinationLength?: number
    sourceLength?: number
    tos?: number
    table?: number
    action?: number
    flags?: number
  },
  (typeof ruleFormat)['attributes']
>

/** How FRA_SUPPRESS_* say that nothing is suppressed: -1. */
const UNSET = 0xffffffff

/** Undefined for a rule that is not of IP. */
export function decodeRule({ header, attributes }: RuleAnswer): Rule | undefined {
  const family = familyFromNumber(header.family)
  if (family === undefined) return undefined
  const prefix = (address: IpAddress | undefined, length: number | undefined) =>
    address && { address, length: length ?? 0 }
  const set = (value: number | undefined) => (value === UNSET ? undefined : value)
  return {
    family,
    priority: attributes.priority ?? 0,
    action: nameOf(ruleActions, header.action ?? 0),
    table: attributes.table ?? header.table ?? 0,
    l3mdev: attributes.l3mdev === 1,
    invert: ((header.flags ?? 0) & INVERT) !== 0,
    ...present({
      source: prefix(attributes.src, header.sourceLength),
      destination: prefix(attributes.dst, header.destinationLength),
      incomingInterface: attributes.iifname,
      outgoingInterface: attributes.oifname,
      mark: attributes.fwmark,
      mask: set(attributes.fwmask),
      tos: header.tos || undefined,
      ipProtocol: attributes.ipProto,
      sourcePorts: attributes.sportRange && rangeOf(attributes.sportRange),
      destinationPorts: attributes.dportRange && rangeOf(attributes.dportRange),
      users: attributes.uidRange && rangeOf(attributes.uidRange),
      goto: attributes.goto,
      suppressPrefixLength: set(attributes.suppressPrefixlen),
      suppressGroup: set(attributes.suppressIfgroup),
      protocol: attributes.protocol,
    }),
  }
}

function rangeOf(range: { first?: number; last?: number }): PortRange {
  return { first: range.first ?? 0, last: range.last ?? 0 }
}
