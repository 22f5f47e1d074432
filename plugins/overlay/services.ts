/** Services that an attachment is a replica of: from the configuration, from args.cni, and from CNI_ARGS. */

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

/** Fills in the defaults. What the values mean is checked for all services together: `checkServices`. */
export function readService({
  name,
  affinity = 'none',
  virtualAddress,
  ports = [],
}: ServiceDocument): ServiceMembership {
  return { name, affinity, ports: ports.map(readPort), ...(virtualAddress === undefined ? {} : { virtualAddress }) }
}

/** A port is published to the same port of the container unless the configuration says otherwise. */
function readPort({
  published,
  target = published,
  protocol = 'tcp',
  mode = 'mesh',
  hostAddresses,
}: PortDocument): ServicePort {
  return { published, target, protocol, mode, ...(hostAddresses?.length ? { hostAddresses } : {}) }
}

/**
 * `SERVICE=api;PUBLISH=8080:80/tcp,9090`: the service, and the ports that it publishes, each to a port of the container.
 * @throws CniError code 4
 */
export function servicesFromArguments(args: ReadonlyMap<string, string> | undefined): ServiceMembership[] {
  const name = args?.get('SERVICE')
  const publish = args?.get('PUBLISH')
  if (!name) {
    if (!publish) return []
    throw invalid('PUBLISH in CNI_ARGS names ports, but there is no SERVICE', 'add "SERVICE=<name>"')
  }
  return [{ name, affinity: 'none', ports: (publish ? publish.split(',') : []).map(readPublished) }]
}

function readPublished(text: string): ServicePort {
  const [ends = '', protocol = 'tcp', ...more] = text.trim().split('/')
  const [published = '', target, ...rest] = ends.split(':')
  if (more.length + rest.length === 0 && (protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp')) {
    return readPort({ published, protocol, ...(target === undefined ? {} : { target }) })
  }
  throw invalid(`PUBLISH in CNI_ARGS has ${JSON.stringify(text)}`, 'write "8080:80/tcp", "8080" or "53/udp"')
}

function invalid(message: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidEnvironment, message, remedy)
}
