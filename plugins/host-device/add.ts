/** ADD: the device moves into the container, with addresses and routes. */

import { deriveAddressing } from '../../lib/attachment/addressing.ts'
import {
  bringUpInterface,
  configureInterface,
  mustGetLink,
  refuseExistingInterface,
} from '../../lib/attachment/interface.ts'
import { addressAndLink, allocateAddresses } from '../../lib/attachment/ipam.ts'
import {
  type Addressed,
  composeResult,
  describeInterface,
  refuseWithoutAddresses,
} from '../../lib/attachment/result.ts'
import { type Sockets, withSockets } from '../../lib/attachment/sockets.ts'
import { runTransaction, type Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { isSelected, listRecorded, missingDevice } from './away.ts'
import { type HostDeviceConfig, parseHostDeviceConfig, requireSelector, type Selector } from './config.ts'
import { findDevice, isForProgram, pciAddress } from './device.ts'
import { refuseIndispensable } from './guard.ts'
import { type Home, withHome } from './home.ts'
import { bringBack, type LostSettings, readLostSettings } from './lost-settings.ts'
import { recordOf } from './record.ts'
import { moveHome, moveIn } from './travel.ts'

export function add(request: AttachmentRequest): Result {
  const config = parseHostDeviceConfig(request)
  const selector = requireSelector(config)
  refuseWithoutAddresses(request, config.ipamType)
  if (isForProgram(selector))
    return runTransaction(request.environment, transaction => addForProgram(transaction, request, config))
  return withSockets(request.netns, sockets =>
    withHome(
      request,
      home => {
        refuseExistingInterface(sockets.container, request.ifname, request.netns)
        const departure = chooseDevice(home, selector, config)
        const { link, lost } = departure
        return runTransaction(request.environment, transaction => {
          const address = (type: string) => allocate(transaction, request, type)
          const { addressed } = addressAndLink(request, config.ipamType, address, () =>
            transaction.step(
              `move "${link.name}" into the container as "${request.ifname}"`,
              () => move(home, sockets, departure, request),
              record => {
                const moved = mustGetLink(sockets.container, record.ifname)
                const { index } = moveHome(home, sockets.container, moved, record)
                bringBack(home.socket, index, lost)
              },
            ),
          )
          const configured = transaction.step(`configure "${request.ifname}"`, () =>
            configure(sockets, request, config, addressed),
          )
          const pciID = pciAddress(selector)
          const described = { ...describeInterface(configured, request.netns), ...(pciID && { pciID }) }
          return composeResult([described], 0, addressed, config.dns)
        })
      },
      sockets.host,
    ),
  )
}

function allocate(transaction: Transaction, request: AttachmentRequest, type: string): Addressed {
  const ipam = allocateAddresses(transaction, request, type)
  return { ipam, addressing: deriveAddressing(ipam) }
}

/** A program drives the device, and is told its addresses; there is no interface. */
function addForProgram(transaction: Transaction, request: AttachmentRequest, config: HostDeviceConfig): Result {
  const { ipamType, dns } = config
  if (ipamType === undefined) return dns === undefined ? {} : { dns }
  const { ipam, addressing } = allocate(transaction, request, ipamType)
  const names = dns ?? ipam.dns
  return {
    ips: [...addressing.ips],
    routes: [...addressing.resultRoutes],
    ...(names === undefined ? {} : { dns: names }),
  }
}

/** A device that is to leave. */
interface Departure {
  readonly link: Link
  readonly lost: LostSettings
  readonly selector: Selector
}

/** @throws CniError codes 104 and 109 */
function chooseDevice(home: Home, selector: Selector, config: HostDeviceConfig): Departure {
  return orMissing(home, selector, () => {
    // One that came back by itself, since its container's namespace died, has not got its name again.
    const link =
      findDevice(home.socket, selector) ?? listRecorded(home.socket).find(one => isSelected(one, selector))?.link
    if (link === undefined) throw missingDevice(home, selector)
    const lost = readLostSettings(home.socket, link)
    refuseIndispensable(home.socket, link, lost.routes, config)
    return { link, lost, selector }
  })
}

/** Runs a function; when the device leaves meanwhile, another container was faster. */
function orMissing<T>(home: Home, selector: Selector, run: () => T): T {
  try {
    return run()
  } catch (error) {
    if ((error as { errno?: number }).errno === Errno.ENODEV) throw missingDevice(home, selector)
    throw error
  }
}

function move(home: Home, sockets: Sockets, { link, lost, selector }: Departure, request: AttachmentRequest) {
  const record = recordOf(link, home.namespace.identity, request)
  try {
    orMissing(home, selector, () => moveIn(home, sockets, link, record))
    return record
  } catch (error) {
    // It may have been in the container for a moment.
    const back = getLink(home.socket, { name: link.name })
    if (back !== undefined) bringBack(home.socket, back.index, lost)
    throw error
  }
}

/** Addresses and routes, if any, and the link up. */
function configure(
  { container, namespace }: Sockets,
  { ifname }: AttachmentRequest,
  { duplicateAddressDetection }: HostDeviceConfig,
  addressed: Addressed | undefined,
): Link {
  if (addressed === undefined) return bringUpInterface(container, ifname)
  return configureInterface(container, namespace, ifname, addressed.addressing, { duplicateAddressDetection })
}
