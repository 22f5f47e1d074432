/**
 * What is to be known of a device while it is away, written into its alias: that goes with it wherever it goes, also
 * back to the host when the container's namespace dies.
 */

import { parseDecimal } from '../../lib/address/address.ts'
import { formatMac } from '../../lib/address/mac.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentId, AttachmentRequest } from '../../lib/cni/types.ts'
import type { Link } from '../../lib/netlink/route/link/index.ts'
import { encodeText } from '../../lib/sys/bytes.ts'

export interface DeviceRecord extends AttachmentId {
  readonly network: string
  /** Number of the host's namespace: others may have a network of the same name. */
  readonly home: string
  /** What the device is called on the host. */
  readonly name: string
  readonly mtu: number
  /** "" for a link without a hardware address. */
  readonly mac: string
  readonly up: boolean
  /** The operator's own. */
  readonly alias: string
}

/** No network can be called so: the aliases of other links of ours begin "cnikit network ". */
const PREFIX = 'cnikit host-device: '
/** IFALIASZ, linux/if.h, less the final NUL. */
const ALIAS_BYTES = 255

/**
 * The record of a device that is about to leave. One that came back by itself, since its container's namespace died, is
 * still to become what it was before.
 */
export function recordOf(link: Link, home: string, request: AttachmentRequest): DeviceRecord {
  const { network, containerId, ifname } = request
  const left = parseRecord(link.alias)
  if (left !== undefined) return { ...left, network, containerId, ifname, home }
  const { name, mtu, up, alias = '' } = link
  return { network, containerId, ifname, home, name, mtu, mac: formatMac(link.mac ?? new Uint8Array()), up, alias }
}

/**
 * The alias that holds a record, without the operator's own where there is no room for that.
 * @throws CniError code 7 when there is no room even so
 */
export function formatRecord(record: DeviceRecord): { text: string; isComplete: boolean } {
  const { network, containerId, ifname, home, name, mtu, mac, up, alias } = record
  const fields = [network, containerId, ifname, home, name, mtu, mac || '-', up ? 'up' : 'down']
  const text = PREFIX + fields.join(' ')
  const whole = alias === '' ? text : `${text} ${alias}`
  if (encodeText(whole).length <= ALIAS_BYTES) return { text: whole, isComplete: true }
  if (encodeText(text).length <= ALIAS_BYTES) return { text, isComplete: false }
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `network name and container id are too long: the alias of the device has ${ALIAS_BYTES} bytes, and they do not fit`,
    'choose a shorter name for the network',
  )
}

/** The record in an alias; undefined for any other alias, and for one that somebody has damaged. */
export function parseRecord(text: string | undefined): DeviceRecord | undefined {
  if (text?.startsWith(PREFIX) !== true) return undefined
  const [network, containerId, ifname, home, name, mtuText = '', mac, state, ...words] = text
    .slice(PREFIX.length)
    .split(' ')
  const mtu = parseDecimal(mtuText, 0xffff_ffff)
  if (!network || !containerId || !ifname || !home || !name || mtu === undefined || mac === undefined) return undefined
  // Written in the container, perhaps: the kernel would make another name of one with a "%".
  if ((state !== 'up' && state !== 'down') || name.includes('%')) return undefined
  return {
    network,
    containerId,
    ifname,
    home,
    name,
    mtu,
    mac: mac === '-' ? '' : mac,
    up: state === 'up',
    alias: words.join(' '),
  }
}

export function isOf(record: DeviceRecord | undefined, request: AttachmentId & { readonly network: string }): boolean {
  return (
    record !== undefined &&
    record.network === request.network &&
    record.containerId === request.containerId &&
    record.ifname === request.ifname
  )
}
