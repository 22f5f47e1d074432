/** Services that an attachment is a replica of: from the configuration, from args.cni, and from CNI_ARGS. */

import { formatAddress, isMulticast, parseAddress, parseDecimal } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { ServiceMembership, ServicePort } from '../../lib/overlay/agent-protocol.ts'

/** As the configuration writes a service. */
export interface ServiceDocument {
  readonly name: string
  readonly affinity?: 'none' | 'client'
  readonly virtualAddress?: string
  readonly ports?: readonly PortDocument[]
}

interface PortDocument {
  readonly published: number | string
  readonly target?: number | string
  readonly protocol?: 'tcp' | 'udp' | 'sctp'
  readonly mode?: 'mesh' | 'local'
  readonly hostAddresses?: readonly string[]
}

/** @param path of the key, for errors @throws CniError code 7 */
export function readServices(documents: readonly ServiceDocument[], path: string): ServiceMembership[] {
  return documents.map((document, index) => {
    const { name, affinity = 'none', virtualAddress } = document
    const where = `${path}[${index}]`
    const address = virtualAddress === undefined ? undefined : readAddress(virtualAddress, `${where}.virtualAddress`)
    return {
      name,
      affinity,
      ports: (document.ports ?? []).map((port, position) => readPort(port, `${where}.ports[${position}]`)),
      ...(address === undefined ? {} : { virtualAddress: address }),
    }
  })
}

/**
 * `SERVICE=api;PUBLISH=8080:80/tcp,9090`: the service, and the ports that it publishes, each to a port of the container.
 * @throws CniError code 4
 */
export function servicesFromArguments(args: ReadonlyMap<string, string> | undefined): ServiceMembership[] {
  const name = args?.get('SERVICE')
  const publish = args?.get('PUBLISH')
  if (!name) {
    if (publish)
      refuse('PUBLISH in CNI_ARGS names ports, but there is no SERVICE', 'add "SERVICE=<name>"', argumentCode)
    return []
  }
  const texts = publish ? publish.split(',') : []
  const ports = texts.map(text => {
    const [ends = '', protocol = 'tcp', ...more] = text.trim().split('/')
    const [published = '', target, ...rest] = ends.split(':')
    if (more.length + rest.length > 0 || (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp')) {
      refuse(`PUBLISH in CNI_ARGS has ${JSON.stringify(text)}`, 'write "8080:80/tcp", "8080" or "53/udp"', argumentCode)
    }
    return readPort(
      { published, protocol, ...(target === undefined ? {} : { target }) },
      'PUBLISH in CNI_ARGS',
      argumentCode,
    )
  })
  return [{ name, affinity: 'none', ports }]
}

const argumentCode = ErrorCode.invalidEnvironment

function readPort(document: PortDocument, where: string, code: number = ErrorCode.invalidNetworkConfig): ServicePort {
  const { published, target = published, protocol = 'tcp', mode = 'mesh', hostAddresses = [] } = document
  const [outside, inside] = [
    readRange(published, `${where}.published`, code),
    readRange(target, `${where}.target`, code),
  ]
  if (outside.length !== inside.length) {
    refuse(`${where} publishes ${outside.length} ports to ${inside.length}`, 'give both ranges the same length', code)
  }
  const addresses = hostAddresses.map((text, index) => readAddress(text, `${where}.hostAddresses[${index}]`))
  return { published, target, protocol, mode, ...(addresses.length > 0 ? { hostAddresses: addresses } : {}) }
}

const LAST_PORT = 65_535

/** A port, or "8000-8010". */
function readRange(value: number | string, where: string, code: number): { length: number } {
  const [first = '', last = first, ...more] = String(value).split('-')
  const [from, to] = [parseDecimal(first, LAST_PORT), parseDecimal(last, LAST_PORT)]
  if (more.length > 0 || from === undefined || to === undefined || from < 1 || to < from) {
    refuse(`"${where}" is ${JSON.stringify(value)}`, 'give a port from 1 to 65535, or a range: "8000-8010"', code)
  }
  return { length: to - from + 1 }
}

function readAddress(text: string, where: string): string {
  const address = parseAddress(text)
  if (address === undefined || isMulticast(address)) {
    refuse(`"${where}" is ${JSON.stringify(text)}, but must be an address`, 'write "10.0.0.2" or "2001:db8::2"')
  }
  return formatAddress(address)
}

function refuse(message: string, remedy: string, code: number = ErrorCode.invalidNetworkConfig): never {
  throw new CniError(code, message, remedy)
}
