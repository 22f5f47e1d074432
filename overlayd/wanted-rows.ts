/**
 * The rows that follow from the endpoints on other hosts, kept up to date with every change: to find them all anew would
 * cost 30 ms with ten thousand endpoints, whenever a container comes or goes anywhere.
 */

import { formatAddress, parseAddress } from '../lib/address/address.ts'
import { formatMac, parseMac } from '../lib/address/mac.ts'
import {
  bridgeKey,
  neighbourKey,
  type RemoteEndpoint,
  type Row,
  type RowChanges,
  type Rows,
  rowsOf,
  splitKey,
  tunnelKey,
} from '../lib/overlay/forwarding-tables.ts'
import type { Entry } from './etcd/view.ts'
import type { EndpointRecord } from './records.ts'

/** An endpoint as etcd has it, and when it was written. */
export interface KnownEndpoint extends RemoteEndpoint {
  readonly node: string
  readonly revision: number
}

/** What an entry of etcd says; undefined when it makes no sense. */
export function readEndpoint({ key, value, revision }: Entry<EndpointRecord>): KnownEndpoint | undefined {
  const address = parseAddress(addressOf(key))
  const [mac, host] = [parseMac(value.mac), parseAddress(value.host)]
  if (address === undefined || mac === undefined || host === undefined) return undefined
  return {
    address: formatAddress(address),
    mac: kept(value.mac, formatMac(mac)),
    host: kept(value.host, formatAddress(host)),
    node: value.node,
    revision,
  }
}

/** Of two texts that are the same the one that is in memory anyway. */
function kept(given: string, canonical: string): string {
  return given === canonical ? given : canonical
}

/** The last part of endpoints/<network>/<address>. */
function addressOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}

export class WantedRows implements Rows {
  /** By the entry's key. */
  readonly #endpoints = new Map<string, KnownEndpoint>()
  readonly #byAddress = new Map<string, KnownEndpoint>()
  /** The endpoints that claim a hardware address: one, but for those with two addresses. */
  readonly #byMac = new Map<string, KnownEndpoint | readonly KnownEndpoint[]>()
  /** How many endpoints a host has. */
  readonly #hosts = new Map<string, number>()
  /** What rows said when changes were last taken: undefined for those that were not there. */
  #before = new Map<string, string | undefined>()

  get size(): number {
    return 2 * this.#byMac.size + this.#byAddress.size
  }

  get(key: string): string | undefined {
    const { table, address } = splitKey(key)
    if (table === 'neighbour') return this.#byAddress.get(address)?.mac
    const claims = this.#byMac.get(address)
    if (claims === undefined) return undefined
    return table === 'tunnel' ? latest(claims).host : ''
  }

  *keys(): Iterable<string> {
    for (const mac of this.#byMac.keys()) {
      yield tunnelKey(mac)
      yield bridgeKey(mac)
    }
    for (const address of this.#byAddress.keys()) yield neighbourKey(address)
  }

  /** The other hosts that have an endpoint. */
  hosts(): Iterable<string> {
    return this.#hosts.keys()
  }

  endpoints(): Iterable<KnownEndpoint> {
    return this.#endpoints.values()
  }

  /** @param key the entry's */
  put(key: string, endpoint: KnownEndpoint): void {
    this.delete(key)
    this.#remember(endpoint)
    this.#endpoints.set(key, endpoint)
    this.#byAddress.set(endpoint.address, endpoint)
    const claims = this.#byMac.get(endpoint.mac)
    this.#byMac.set(endpoint.mac, claims === undefined ? endpoint : [...listOf(claims), endpoint])
    this.#hosts.set(endpoint.host, (this.#hosts.get(endpoint.host) ?? 0) + 1)
  }

  delete(key: string): void {
    const endpoint = this.#endpoints.get(key)
    if (endpoint === undefined) return
    this.#remember(endpoint)
    this.#endpoints.delete(key)
    this.#byAddress.delete(endpoint.address)
    const others = listOf(this.#byMac.get(endpoint.mac) ?? []).filter(other => other !== endpoint)
    if (others.length === 0) this.#byMac.delete(endpoint.mac)
    else this.#byMac.set(endpoint.mac, others)
    const left = (this.#hosts.get(endpoint.host) ?? 1) - 1
    if (left === 0) this.#hosts.delete(endpoint.host)
    else this.#hosts.set(endpoint.host, left)
  }

  /** What has changed since the last call. */
  takeChanges(): RowChanges {
    const written: Row[] = []
    const removed: Row[] = []
    for (const [key, before] of this.#before) {
      const content = this.get(key)
      if (content === before) continue
      if (content !== undefined) written.push({ key, content })
      else if (before !== undefined) removed.push({ key, content: before })
    }
    this.#before = new Map()
    return { written, removed }
  }

  #remember(endpoint: KnownEndpoint): void {
    for (const { key } of rowsOf(endpoint)) if (!this.#before.has(key)) this.#before.set(key, this.get(key))
  }
}

function listOf(claims: KnownEndpoint | readonly KnownEndpoint[]): readonly KnownEndpoint[] {
  return 'revision' in claims ? [claims] : claims
}

/** Two endpoints with one hardware address: the later one has it. */
function latest(claims: KnownEndpoint | readonly KnownEndpoint[]): KnownEndpoint {
  if ('revision' in claims) return claims
  return claims.reduce((last, one) => (one.revision > last.revision ? one : last))
}
