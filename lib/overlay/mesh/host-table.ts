/**
 * Published ports on a host, in its own network namespace:
 *
 *     packet to one of the host's addresses, port published?
 *        ├── mode local: to a replica on this host, through the gateway bridge; the client's address stays
 *        └── mode mesh: to the ingress namespace, which finds a replica on any host
 *
 * The first lookup lets everything else pass: a connection to a port that is not published costs two lookups, however
 * many are.
 */

import type { IpAddress } from '../../address/address.ts'
import type { DeclaredChain, DeclaredSet, DeclaredTable } from '../../firewall/nftables/declared-table.ts'
import { Priority } from '../../netlink/netfilter/chain.ts'
import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import {
  address,
  addressInNetwork,
  compare,
  type IpFamilyName,
  inSet,
  masquerade,
  meta,
  ofFamily,
  verdict,
} from '../../netlink/netfilter/expressions.ts'
import { connectionIs, immediate, isLocal, loadKey, translate } from '../../netlink/netfilter/nat-expressions.ts'
import { concatenated, ofLength, portBytes, portElements } from './elements.ts'
import type { PublishedPort } from './published-port.ts'
import {
  addressType,
  destination,
  families,
  isInterface,
  lengthOf,
  meshTable,
  nameFor,
  protocolAndPort,
  slotMap,
  slotRules,
} from './rules.ts'

export interface HostServices {
  /** The gateway bridge's name. */
  readonly gateway: string
  /** Of the ingress namespace on the gateway bridge; none yet: nothing is published in the mesh. */
  readonly ingress: readonly IpAddress[]
  readonly ports: readonly PublishedPort[]
}

const PORT_KEY = ['inet_proto', 'inet_service'] as const

const portKey = ({ protocol, port }: PublishedPort): Uint8Array => concatenated([protocol], portBytes(port))

/** Without published ports there is no table: see `removeTable`. */
export function hostTable({ gateway, ingress, ports }: HostServices): DeclaredTable {
  const mesh = ingress.length === 0 ? [] : ports.filter(({ mode }) => mode === 'mesh')
  const local = ports.filter(({ mode, targets }) => mode === 'local' && targets.length > 0)
  const perFamily = families.map(family => ({ family, ingress: ofLength(ingress, lengthOf(family))[0] }))
  return {
    ...meshTable,
    sets: [
      portSet('published', [...mesh, ...local]),
      ...publishedSets('mesh', mesh),
      ...publishedSets('local', local),
      ...families.map(family => ({
        set: nameFor('local-replicas', family),
        type: slotMap(family, { withAddress: false, withPort: true }),
        elements: local.flatMap(port => portElements(port, lengthOf(family))),
      })),
    ],
    chains: [
      {
        chain: 'mesh-port',
        rules: perFamily.flatMap(({ family, ingress }) => (ingress === undefined ? [] : [toIngress(family, ingress)])),
      },
      {
        chain: 'local-port',
        rules: [
          ...perFamily.flatMap(({ family, ingress }) =>
            ingress === undefined ? [] : [fromBeside(gateway, family, ingress)],
          ),
          ...families.flatMap(family => slotRules(family, protocolAndPort, nameFor('local-replicas', family), true)),
        ],
      },
      {
        chain: 'services',
        rules: [
          ...perFamily.flatMap(({ family, ingress }) =>
            ingress === undefined ? [] : [fromIngress(gateway, family, ingress)],
          ),
          ...publishedRules('local', 'local-port'),
          ...publishedRules('mesh', 'mesh-port'),
        ],
      },
      { chain: 'prerouting', base: { type: 'nat', hook: 'prerouting', priority: Priority.dstnat }, rules: [entry()] },
      // What the host itself sends, to localhost too.
      {
        chain: 'output',
        base: { type: 'nat', hook: 'output', priority: Priority.dstnat },
        rules: [notIpv6Loopback(), entry()],
      },
      postrouting(gateway),
      loopbackGuard(gateway),
    ],
  }
}

function portSet(set: string, ports: readonly PublishedPort[]): DeclaredSet {
  return { set, type: { key: PORT_KEY }, elements: ports.map(port => ({ key: portKey(port) })) }
}

/** Ports that are published on all addresses of the host, and those on some, by address. */
function publishedSets(name: string, ports: readonly PublishedPort[]): DeclaredSet[] {
  return [
    portSet(
      name,
      ports.filter(({ hostAddresses }) => hostAddresses.length === 0),
    ),
    ...families.map(family => ({
      set: nameFor(`${name}-addresses`, family),
      type: { key: [addressType(family), ...PORT_KEY] },
      elements: ports.flatMap(port =>
        ofLength(port.hostAddresses, lengthOf(family)).map(address => ({
          key: concatenated(address, [port.protocol], portBytes(port.port)),
        })),
      ),
    })),
  ]
}

/** `meta l4proto . th dport @mesh goto mesh-port`, and the same for each family with the address in front. */
function publishedRules(name: string, chain: string): Expression[][] {
  return [
    [...loadKey(...protocolAndPort), inSet(name), verdict('goto', chain)],
    ...families.map(family => [
      ...ofFamily(family),
      ...loadKey(destination(family), ...protocolAndPort),
      inSet(nameFor(`${name}-addresses`, family)),
      verdict('goto', chain),
    ]),
  ]
}

function entry(): Expression[] {
  return [...isLocal('daddr'), ...loadKey(...protocolAndPort), inSet('published'), verdict('jump', 'services')]
}

/**
 * `ip6 daddr ::1 accept`: Linux has no way to lead it elsewhere. It is refused rather than lost, so that clients that ask
 * for "localhost" go on to 127.0.0.1 at once.
 */
function notIpv6Loopback(): Expression[] {
  const loopback = Uint8Array.of(...new Array<number>(15).fill(0), 1)
  return [...ofFamily('ip6'), address('ip6', 'daddr'), compare('eq', loopback), verdict('accept')]
}

/** The port stays: the ingress namespace knows services by it. */
function toIngress(family: IpFamilyName, ingress: IpAddress): Expression[] {
  return [...ofFamily(family), immediate(ingress), translate('dnat', family)]
}

/** From a container to a replica beside it: by way of the ingress namespace, see `ingressTable`. */
function fromBeside(gateway: string, family: IpFamilyName, ingress: IpAddress): Expression[] {
  return [
    meta('iifname'),
    isInterface(gateway),
    ...ofFamily(family),
    address(family, 'saddr'),
    compare('neq', ingress),
    immediate(ingress),
    translate('dnat', family),
  ]
}

/** What comes back from there has been found to be published, on the address that was asked. */
function fromIngress(gateway: string, family: IpFamilyName, ingress: IpAddress): Expression[] {
  return [
    meta('iifname'),
    isInterface(gateway),
    ...ofFamily(family),
    address(family, 'saddr'),
    compare('eq', ingress),
    verdict('goto', 'local-port'),
  ]
}

/**
 * Answers must come back through the host, to be translated back: what the host itself sends comes from 127.0.0.1 or
 * ::1 perhaps, and containers on the gateway bridge would be answered directly, or not at all.
 */
function postrouting(gateway: string): DeclaredChain {
  const [leaving, entered] = [
    [meta('oifname'), isInterface(gateway)],
    [meta('iifname'), isInterface(gateway)],
  ]
  return {
    chain: 'postrouting',
    base: { type: 'nat', hook: 'postrouting', priority: Priority.srcnat },
    rules: [
      [...leaving, ...connectionIs('dnat'), ...isLocal('saddr'), masquerade()],
      [...leaving, ...entered, ...connectionIs('dnat'), masquerade()],
    ],
  }
}

/**
 * Connections of the host to localhost need route_localnet on the gateway bridge, which would let containers reach what
 * listens on the host's 127.0.0.1 alone (CVE-2020-8558). Answers are translated back behind this hook.
 */
function loopbackGuard(gateway: string): DeclaredChain {
  return {
    chain: 'loopback-guard',
    base: { type: 'filter', hook: 'prerouting', priority: Priority.raw },
    rules: [
      [
        meta('iifname'),
        isInterface(gateway),
        ...ofFamily('ip'),
        ...addressInNetwork('ip', 'daddr', 'eq', Uint8Array.of(127, 0, 0, 0), 8),
        verdict('drop'),
      ],
    ],
  }
}
