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
import type { SetElement } from '../../netlink/netfilter/element.ts'
import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import {
  addressInNetwork,
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
  const used = families.filter(family => ofLength(ingress, lengthOf(family)).length > 0)
  /** The port stays: the ingress namespace knows services by it. */
  const toIngress = (family: IpFamilyName) =>
    ofLength(ingress, lengthOf(family)).flatMap(address => [immediate(address), translate('dnat', family)])
  const meshRules = (family: IpFamilyName) => [
    [...ofFamily(family), ...loadKey(...protocolAndPort), inSet('mesh'), ...toIngress(family)],
    [
      ...ofFamily(family),
      ...loadKey(destination(family), ...protocolAndPort),
      inSet(nameFor('mesh-addresses', family)),
      ...toIngress(family),
    ],
  ]
  // From a container to a replica beside it: see `ingressTable`.
  const hairpinRules = (family: IpFamilyName) => [
    [meta('iifname'), isInterface(gateway), ...ofFamily(family), ...toIngress(family)],
  ]
  return {
    ...meshTable,
    sets: [
      portSet('published', [...mesh, ...local]),
      portSet('local-ports', local),
      ...families.flatMap(family => localSets(family, local)),
      portSet('mesh', mesh.filter(isEverywhere)),
      ...used.map(family => addressedSet(family, mesh)),
    ],
    chains: [
      { chain: 'local', rules: [...used.flatMap(hairpinRules), ...families.flatMap(localRules)] },
      { chain: 'services', rules: [localJump(), ...used.flatMap(meshRules)] },
      { chain: 'prerouting', base: { type: 'nat', hook: 'prerouting', priority: Priority.dstnat }, rules: [entry()] },
      // What the host itself sends, to localhost too.
      { chain: 'output', base: { type: 'nat', hook: 'output', priority: Priority.dstnat }, rules: [entry()] },
      postrouting(gateway),
      loopbackGuard(gateway),
    ],
  }
}

const isEverywhere = ({ hostAddresses }: PublishedPort): boolean => hostAddresses.length === 0

function portSet(set: string, ports: readonly PublishedPort[]): DeclaredSet {
  return { set, type: { key: PORT_KEY }, elements: ports.map(port => ({ key: portKey(port) })) }
}

/** For each of the host addresses that the port is published on, what `make` gives. */
function onAddresses(
  family: IpFamilyName,
  ports: readonly PublishedPort[],
  make: (address: IpAddress, port: PublishedPort) => SetElement[],
): SetElement[] {
  return ports.flatMap(port => ofLength(port.hostAddresses, lengthOf(family)).flatMap(address => make(address, port)))
}

function addressedSet(family: IpFamilyName, ports: readonly PublishedPort[]): DeclaredSet {
  const elements = onAddresses(family, ports, (address, port) => [
    { key: concatenated(address, [port.protocol], portBytes(port.port)) },
  ])
  return { set: nameFor('mesh-addresses', family), type: { key: [addressType(family), ...PORT_KEY] }, elements }
}

function localSets(family: IpFamilyName, ports: readonly PublishedPort[]): DeclaredSet[] {
  const length = lengthOf(family)
  return [
    {
      set: nameFor('local-replicas', family),
      type: slotMap(family, { withAddress: false, withPort: true }),
      elements: ports.filter(isEverywhere).flatMap(port => portElements(port, length)),
    },
    {
      set: nameFor('local-replicas-addresses', family),
      type: slotMap(family, { withAddress: true, withPort: true }),
      elements: onAddresses(family, ports, (address, port) => portElements(port, length, [address])),
    },
  ]
}

function entry(): Expression[] {
  return [...isLocal('daddr'), ...loadKey(...protocolAndPort), inSet('published'), verdict('jump', 'services')]
}

function localJump(): Expression[] {
  return [...loadKey(...protocolAndPort), inSet('local-ports'), verdict('goto', 'local')]
}

function localRules(family: IpFamilyName): Expression[][] {
  const addressed = [destination(family), ...protocolAndPort]
  return [
    ...slotRules(family, protocolAndPort, nameFor('local-replicas', family), true),
    ...slotRules(family, addressed, nameFor('local-replicas-addresses', family), true),
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
